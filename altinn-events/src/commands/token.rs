//! `altinn-events token`: a token of the local stand-in, as plain text.

use clap::{Args as ClapArgs, ValueEnum};

use super::client::generated_token;

/// Who the token speaks for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// An organisation, with scopes.
    Enterprise,
    /// A person.
    Personal,
    /// An app, for the `PlatformAccessToken` header.
    Platform,
}

/// Arguments of `token`.
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples, beside `make run`:
  altinn-events token                                             the test department, all scopes
  altinn-events token --org ttd --scopes altinn:events.subscribe  an agency with one scope
  altinn-events token --kind personal --user-id 1337 --party-id 50001337
  altinn-events token --kind platform --org ttd --app apps-test   for the PlatformAccessToken header")]
pub struct Args {
    /// Address of the token generator.
    #[arg(long, env = "ALTINN_URL", default_value = "http://localhost:5101")]
    altinn: String,
    /// Who the token speaks for.
    #[arg(long, value_enum, default_value_t = Kind::Enterprise)]
    kind: Kind,
    /// Short name of the agency.
    #[arg(long, default_value = "ttd")]
    org: String,
    /// Organisation number of the agency.
    #[arg(long, default_value = "991825827")]
    org_no: String,
    /// Scopes, separated by spaces or commas.
    #[arg(long, default_value = "altinn:events.publish altinn:events.subscribe altinn:serviceowner")]
    scopes: String,
    /// User id of a person.
    #[arg(long, default_value = "1337")]
    user_id: String,
    /// Party id of a person.
    #[arg(long, default_value = "50001337")]
    party_id: String,
    /// Name of an app.
    #[arg(long, default_value = "apps-test")]
    app: String,
    /// Lifetime in seconds.
    #[arg(long, default_value = "1800")]
    ttl: String,
}

/// Prints the token.
///
/// # Errors
/// When the generator does not answer or refuses.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut query = vec![("env", "local"), ("ttl", args.ttl.as_str())];
    let path = match args.kind {
        Kind::Enterprise => {
            query.extend([
                ("org", args.org.as_str()),
                ("orgNo", args.org_no.as_str()),
                ("scopes", args.scopes.as_str()),
            ]);
            "/api/GetEnterpriseToken"
        }
        Kind::Personal => {
            query.extend([
                ("userId", args.user_id.as_str()),
                ("partyId", args.party_id.as_str()),
                ("scopes", args.scopes.as_str()),
            ]);
            "/api/GetPersonalToken"
        }
        Kind::Platform => {
            query.extend([("org", args.org.as_str()), ("app", args.app.as_str())]);
            "/api/GetPlatformAccessToken"
        }
    };
    println!("{}", generated_token(&args.altinn, path, &query).await?);
    Ok(())
}
