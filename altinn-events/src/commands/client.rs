//! What the commands that talk to a running platform share: where it is, who calls, what went wrong.

use std::time::Duration;

use access::scope;
use anyhow::{Context, bail};
use clap::Args as ClapArgs;
use reqwest::{Client, RequestBuilder, Response};

/// Where the platform is and who calls.
#[derive(ClapArgs, Clone, Debug)]
pub struct Target {
    /// Address of the platform.
    #[arg(long, env = "ALTINN_EVENTS_URL", default_value = "http://localhost:5080")]
    pub url: String,
    /// Address of Altinn's token generator; used when no token is given.
    #[arg(long, env = "ALTINN_URL", default_value = "http://localhost:5101")]
    pub altinn: String,
    /// A bearer token; without one, a token of the test department is taken from the local stand-in.
    #[arg(long, env = "ALTINN_EVENTS_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// What a service owner may want to do; the commands' own tokens have it.
pub fn scopes() -> String {
    [scope::PUBLISH, scope::SUBSCRIBE, scope::SERVICE_OWNER].join(" ")
}

/// A client with a token.
#[derive(Clone, Debug)]
pub struct Caller {
    client: Client,
    url: String,
    token: String,
}

/// A client whose requests end within `wait`.
///
/// # Errors
/// When the client cannot be built.
pub fn http(wait: Duration) -> anyhow::Result<Client> {
    Ok(Client::builder().timeout(wait).no_proxy().build()?)
}

/// Gets a token from the generator at `altinn` by a path with its query.
///
/// # Errors
/// When the generator does not answer or refuses.
pub async fn generated_token(altinn: &str, path: &str, query: &[(&str, &str)]) -> anyhow::Result<String> {
    let mut url = url::Url::parse(altinn).context("the address of the token generator is not a URL")?;
    url.set_path(path);
    url.query_pairs_mut().extend_pairs(query);
    let answer = http(Duration::from_secs(10))?
        .get(url)
        .send()
        .await
        .with_context(|| format!("the token generator at {altinn} does not answer; is `make run` up?"))?;
    let status = answer.status();
    let text = answer.text().await?;
    if !status.is_success() {
        bail!("the token generator answered {status}: {text}");
    }
    Ok(text.trim().to_owned())
}

impl Target {
    /// A client with the given token, or one of the test department.
    ///
    /// # Errors
    /// When a token is needed and cannot be had.
    pub async fn caller(&self) -> anyhow::Result<Caller> {
        let token = match &self.token {
            Some(token) => token.clone(),
            None => {
                let scopes = scopes();
                let query =
                    [("env", "local"), ("org", "ttd"), ("orgNo", "991825827"), ("scopes", scopes.as_str())];
                generated_token(&self.altinn, "/api/GetEnterpriseToken", &query).await?
            }
        };
        Ok(Caller {
            client: http(Duration::from_secs(60))?,
            url: self.url.trim_end_matches('/').to_owned(),
            token,
        })
    }
}

impl Caller {
    /// A request with the token.
    pub fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// A request with the token.
    pub fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).bearer_auth(&self.token)
    }
}

/// The answer when it is a success, else an error that holds what the platform said.
///
/// # Errors
/// When the platform does not answer or refuses.
pub async fn accepted(request: RequestBuilder) -> anyhow::Result<Response> {
    let answer = request.send().await.context("the platform does not answer; is `make run` up?")?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let text = answer.text().await.unwrap_or_default();
    bail!("the platform answered {status} {text}")
}
