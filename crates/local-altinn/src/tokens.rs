//! What may be asked for at the generator of tokens (contract §2.1).

/// Seconds that a token lives when nothing else is said.
pub(crate) const TTL_S: i64 = 1_800;
/// The same for platform access tokens.
const PLATFORM_TTL_S: i64 = 300;

/// What a token should say. The fields are the parameters of the public test tool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// Of whom.
    pub holder: Holder,
    /// Scopes.
    pub scopes: Vec<String>,
    /// Seconds until it ends; below zero it has ended.
    pub ttl_s: i64,
    /// Authentication level; 3 for organisations and 4 for persons when nothing is said.
    pub auth_level: Option<u8>,
    /// Organisation number of a supplier who holds the token by delegation.
    pub supplier: Option<String>,
}

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// An organisation, a service owner when `org` is there.
    Enterprise {
        /// Short name.
        org: Option<String>,
        /// Organisation number.
        org_number: String,
    },
    /// A person.
    Person {
        /// Number of the user.
        user_id: i64,
        /// Number of the party.
        party_id: i64,
        /// Person number, synthetic.
        pid: Option<String>,
    },
    /// A system user of an organisation.
    SystemUser {
        /// Id (a UUID).
        id: String,
        /// Organisation number.
        org_number: String,
    },
    /// An app or component, for a platform access token.
    Platform {
        /// Who signs: a service owner, or `platform`.
        issuer: String,
        /// Name of the app.
        app: String,
    },
    /// An organisation at Maskinporten: a token to exchange.
    Maskinporten {
        /// Organisation number.
        org_number: String,
        /// Id of its system user, when it is that one's token.
        system_user: Option<String>,
    },
    /// A person at ID-porten: a token to exchange.
    Idporten {
        /// Person number, synthetic.
        pid: String,
        /// Level of assurance; by the authentication level when it is none.
        acr: Option<String>,
    },
}

impl TokenRequest {
    fn new(holder: Holder, scopes: &[&str], ttl_s: i64) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Self { holder, scopes, ttl_s, auth_level: None, supplier: None }
    }

    /// Of a service owner, or of an organisation when `org` is none.
    pub fn enterprise(org: Option<&str>, org_number: &str, scopes: &[&str]) -> Self {
        let holder = Holder::Enterprise { org: org.map(str::to_owned), org_number: org_number.to_owned() };
        Self::new(holder, scopes, TTL_S)
    }

    /// Of a person.
    pub fn personal(user_id: i64, party_id: i64, scopes: &[&str]) -> Self {
        Self::new(Holder::Person { user_id, party_id, pid: None }, scopes, TTL_S)
    }

    /// Of a system user.
    pub fn system_user(id: &str, org_number: &str, scopes: &[&str]) -> Self {
        let holder = Holder::SystemUser { id: id.to_owned(), org_number: org_number.to_owned() };
        Self::new(holder, scopes, TTL_S)
    }

    /// Of an app, signed by its service owner.
    pub fn platform(issuer: &str, app: &str) -> Self {
        let holder = Holder::Platform { issuer: issuer.to_owned(), app: app.to_owned() };
        Self::new(holder, &[], PLATFORM_TTL_S)
    }

    /// Of an organisation, by Maskinporten.
    pub fn maskinporten(org_number: &str, scopes: &[&str]) -> Self {
        let holder = Holder::Maskinporten { org_number: org_number.to_owned(), system_user: None };
        Self::new(holder, scopes, TTL_S)
    }

    /// Of a person, by ID-porten.
    pub fn idporten(pid: &str, scopes: &[&str]) -> Self {
        Self::new(Holder::Idporten { pid: pid.to_owned(), acr: None }, scopes, TTL_S)
    }

    /// The same with another life time in seconds; below zero it has ended.
    #[must_use]
    pub fn ttl(mut self, seconds: i64) -> Self {
        self.ttl_s = seconds;
        self
    }

    /// The same at another authentication level.
    #[must_use]
    pub fn level(mut self, level: u8) -> Self {
        self.auth_level = Some(level);
        self
    }

    /// The same, held by a supplier to whom the organisation delegated.
    #[must_use]
    pub fn supplied_by(mut self, org_number: &str) -> Self {
        self.supplier = Some(org_number.to_owned());
        self
    }
}
