//! The first page: what is here, with an example of each.

use axum::extract::State;

use crate::Shared;

pub(crate) async fn index(State(state): State<Shared>) -> String {
    INDEX.replace("{base}", &state.base_url)
}

const INDEX: &str = "\
Local Altinn. For development only: it gives a token to anybody who asks.

Tokens (plain text)
  {base}/api/GetEnterpriseToken?env=local&org=ttd&orgNo=991825827&scopes=altinn:events.publish,altinn:events.subscribe
  {base}/api/GetPersonalToken?env=local&userId=1337&partyId=50001337&scopes=altinn:portal/enduser
  {base}/api/GetSystemUserToken?env=local&systemUserId=a1b2c3d4-0000-4000-8000-000000000001&orgNo=991825827
  {base}/api/GetPlatformAccessToken?env=local&org=ttd&app=apps-test
  more parameters: ttl (seconds), authLvl (0 to 4), pid, supplierOrgNo

Tokens to exchange, then the exchange (the token as bearer), and a new lifetime for a token
  {base}/api/GetMaskinportenToken?orgNo=991825827&scopes=altinn:serviceowner,altinn:events.publish
  {base}/api/GetIdportenToken?pid=02857010054&scopes=altinn:portal/enduser&authLvl=4
  more parameters: ttl (seconds), supplierOrgNo, systemUserId, acr
  {base}/authentication/api/v1/exchange/maskinporten?test=true
  {base}/authentication/api/v1/exchange/id-porten
  {base}/authentication/api/v1/refresh

Keys
  {base}/authentication/api/v1/openid/.well-known/openid-configuration
  {base}/platform-certificates/ttd-access-token-public-cert

Rights and parties
  POST {base}/authorization/api/v1/decision
  POST {base}/register/api/v1/parties/lookup
  POST {base}/register/api/v2/internal/parties/query
  POST {base}/register/api/v2/internal/parties/main-units

Webhooks
  POST {base}/webhooks/{any name}   receives
  GET  {base}/webhooks/{any name}   lists what came
  PUT  {base}/webhooks/{any name}   scripts the next answers: [{\"status\": 500}, {\"hang\": true}]
  GET  {base}/webhooks              names
";
