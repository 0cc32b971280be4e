//! Names of the scopes that give rights here (contract §2.5).

/// Of publishers of generic events.
pub const PUBLISH: &str = "altinn:events.publish";
/// Publishes without asking the PDP.
pub const PUBLISH_ADMIN: &str = "altinn:events.publish.admin";
/// Of readers of the generic feed and of its subscribers.
pub const SUBSCRIBE: &str = "altinn:events.subscribe";
/// At the exchange of a Maskinporten token: puts the organisation's short name into the token that comes of it.
pub const SERVICE_OWNER: &str = "altinn:serviceowner";

/// Gives the whole feed of an app on the seed's path; may be delegated.
pub fn of_app(org: &str, app: &str) -> String {
    format!("altinn:events/{org}/{app}")
}
