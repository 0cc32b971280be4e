//! `altinn-events token`: a token of the local stand-in, as plain text.

use clap::{Args as ClapArgs, ValueEnum};

use super::client::{self, generated_token};

/// The maker of a system among the stand-in's data, and the system user that a business made for it.
const SYSTEM_OWNER: &str = "315596688";
const SYSTEM_USER: &str = "a1b2c3d4-0000-4000-8000-000000000002";

/// Who the token speaks for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kind {
    /// An organisation: a service owner, or any other.
    Enterprise,
    /// A person.
    Personal,
    /// A system user of an organisation.
    SystemUser,
    /// An app, for the `PlatformAccessToken` header.
    Platform,
}

/// Arguments of `token`. What is not given is left to the generator, but for what an example needs.
#[derive(ClapArgs, Debug)]
#[command(after_help = "Examples, beside `make run`; docs/access.md says what each of them may do:
  altinn-events token                                                  the service owner ttd, all scopes
  altinn-events token --scopes altinn:events.subscribe                 the same with one scope
  altinn-events token --scopes altinn:events/ttd/apps-test --supplier-org-no 310075728
                                                                       a supplier to whom ttd delegated its feed
  altinn-events token --org-no 313810135                               an organisation: an accountant with clients
  altinn-events token --org-no 310075728 --scopes altinn:events.publish,altinn:events.publish.admin
                                                                       a component that publishes without asking
  altinn-events token --kind personal --user-id 1337                   a person
  altinn-events token --kind personal --pid 02857010054 --auth-lvl 2   the same by number, weakly identified
  altinn-events token --kind system-user                               a system that a business gave rights
  altinn-events token --kind platform --org ttd --app apps-test        an app, for the PlatformAccessToken header")]
pub struct Args {
    /// Address of the token generator.
    #[arg(long, env = "ALTINN_URL", default_value = "http://localhost:5101")]
    altinn: String,
    /// Who the token speaks for.
    #[arg(long, value_enum, default_value_t = Kind::Enterprise)]
    kind: Kind,
    /// Short name of a service owner; ttd for an enterprise without a number, and for an app.
    #[arg(long)]
    org: Option<String>,
    /// Organisation number.
    #[arg(long)]
    org_no: Option<String>,
    /// Organisation number of a supplier who holds the token by delegation.
    #[arg(long)]
    supplier_org_no: Option<String>,
    /// Scopes, separated by spaces or commas; a service owner has all that are needed here when none are given.
    #[arg(long)]
    scopes: Option<String>,
    /// User id of a person; 1337 when nothing names a person.
    #[arg(long)]
    user_id: Option<String>,
    /// Party id of a person.
    #[arg(long)]
    party_id: Option<String>,
    /// Number of a person; synthetic ones only.
    #[arg(long)]
    pid: Option<String>,
    /// Id of a system user.
    #[arg(long)]
    system_user_id: Option<String>,
    /// Name of an app; apps-test when none is given.
    #[arg(long)]
    app: Option<String>,
    /// Authentication level, 0 to 4.
    #[arg(long)]
    auth_lvl: Option<String>,
    /// Lifetime in seconds; below zero it has ended.
    #[arg(long, allow_hyphen_values = true)]
    ttl: Option<String>,
}

impl Args {
    /// Fills in what the examples leave out; the generator's path.
    fn completed(&mut self) -> &'static str {
        let set = |argument: &mut Option<String>, value: &str| {
            argument.get_or_insert_with(|| value.to_owned());
        };
        match self.kind {
            Kind::Enterprise => {
                if self.org_no.is_none() {
                    set(&mut self.org, "ttd");
                }
                if self.org.is_some() {
                    set(&mut self.scopes, &client::scopes());
                }
                "/api/GetEnterpriseToken"
            }
            Kind::Personal => "/api/GetPersonalToken",
            Kind::SystemUser => {
                set(&mut self.org_no, SYSTEM_OWNER);
                set(&mut self.system_user_id, SYSTEM_USER);
                "/api/GetSystemUserToken"
            }
            Kind::Platform => {
                set(&mut self.org, "ttd");
                set(&mut self.app, "apps-test");
                "/api/GetPlatformAccessToken"
            }
        }
    }

    fn parameters(&self) -> Vec<(&'static str, &str)> {
        let given = [
            ("org", &self.org),
            ("orgNo", &self.org_no),
            ("supplierOrgNo", &self.supplier_org_no),
            ("scopes", &self.scopes),
            ("userId", &self.user_id),
            ("partyId", &self.party_id),
            ("pid", &self.pid),
            ("systemUserId", &self.system_user_id),
            ("app", &self.app),
            ("authLvl", &self.auth_lvl),
            ("ttl", &self.ttl),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        [("env", "local")].into_iter().chain(given).collect()
    }
}

/// Prints the token.
///
/// # Errors
/// When the generator does not answer or refuses.
pub async fn run(mut args: Args) -> anyhow::Result<()> {
    let path = args.completed();
    println!("{}", generated_token(&args.altinn, path, &args.parameters()).await?);
    Ok(())
}
