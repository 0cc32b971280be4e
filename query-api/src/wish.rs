//! What a subscriber asks for, and whether it may be asked for: the checks of the contract (§6.2), all that is wrong at once. Pure.

use event::{
    Draft,
    address::AddressPolicy,
    limits::ATTRIBUTE_MAX,
    resource::{self, APP_PREFIX, AppsDomain},
    subject,
};
use url::Url;

use crate::{error::Refusal, query::check_text};

/// Longest address of a subscription request, in bytes.
const TEXT_MAX: usize = 2_048;
/// What is promised and does not work yet: ignored, it would be a silent loss.
const NOT_YET: [&str; 5] = ["headers", "secret", "filter", "filters", "mode"];

/// The body of a subscription request; names compare without regard to case, null and `""` count as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The webhook address.
    pub endpoint: Option<String>,
    /// Base of the sources.
    pub source: Option<String>,
    /// The resource, in the form that is stored: lower case, the present name.
    pub resource: Option<String>,
    /// The subject.
    pub subject: Option<String>,
    /// Another name of the subject; looked up, never stored.
    pub alternative: Option<String>,
    /// The type.
    pub kind: Option<String>,
    /// Whether events about sub-units count.
    pub subunits: bool,
}

/// Which rules hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Events of an app.
    App,
    /// Events of any other resource.
    Generic,
}

/// Who asks, as far as the checks go by it.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// Whether it is the owner of services.
    pub is_org: bool,
    /// Whether it has a name to receive under.
    pub has_consumer: bool,
}

/// A body under way: what is wrong with its members.
struct Reader<'a> {
    draft: &'a Draft,
    wrong: Vec<(String, String)>,
}

impl Reader<'_> {
    fn wrong(&mut self, name: &str, message: impl Into<String>) {
        self.wrong.push((name.to_owned(), message.into()));
    }

    /// The member of that name in any case, unless it is null.
    fn member(&mut self, name: &str) -> Option<String> {
        let is_it = |member: &&str| member.eq_ignore_ascii_case(name) && self.draft.has(member);
        let mut members = self.draft.names().filter(is_it).map(str::to_owned);
        let (first, second) = (members.next(), members.next());
        if second.is_some() {
            self.wrong(name, "stands there more than once");
        }
        first
    }

    fn text(&mut self, name: &str, max: usize) -> Option<String> {
        let member = self.member(name)?;
        let Some(text) = self.draft.text(&member) else {
            self.wrong(name, "is not a string");
            return None;
        };
        if check_text(name, &text).is_err() {
            self.wrong(name, "holds a control character");
        }
        if text.len() > max {
            self.wrong(name, format!("is longer than {max} bytes"));
        }
        Some(text).filter(|text| !text.is_empty())
    }

    fn flag(&mut self, name: &str) -> bool {
        let Some(member) = self.member(name) else { return false };
        match self.draft.raw(&member) {
            Some("true") => true,
            Some("false" | "\"\"") | None => false,
            Some(_) => {
                self.wrong(name, "is neither true nor false");
                false
            }
        }
    }

    fn not_yet(&mut self) {
        for name in NOT_YET {
            if self.member(name).is_some() {
                self.wrong(name, "is not supported yet; leave it out");
            }
        }
    }
}

impl Wish {
    /// Reads a body; what is wrong with its members stands beside it. A text that is sent is never repeated: it may hold a person's
    /// number.
    ///
    /// # Errors
    /// It is no JSON object.
    pub fn read(body: &[u8]) -> Result<(Self, Vec<(String, String)>), Refusal> {
        let draft = Draft::parse(body).map_err(|wrong| Refusal::Wrong(wrong.into_pairs()))?;
        let mut reader = Reader { draft: &draft, wrong: Vec::new() };
        let wish = Self {
            endpoint: reader.text("endPoint", TEXT_MAX),
            source: reader.text("sourceFilter", TEXT_MAX),
            resource: reader.text("resourceFilter", TEXT_MAX).map(|text| stored_form(&text)),
            subject: reader.text("subjectFilter", ATTRIBUTE_MAX),
            alternative: reader.text("alternativeSubjectFilter", ATTRIBUTE_MAX),
            kind: reader.text("typeFilter", ATTRIBUTE_MAX),
            subunits: reader.flag("includeSubunits"),
        };
        reader.not_yet();
        Ok((wish, reader.wrong))
    }

    /// Checks 2 and 3: addresses, in the contract's texts.
    pub fn wrong_addresses(&self, policy: AddressPolicy) -> Vec<String> {
        let endpoint = match &self.endpoint {
            None => Some("Missing or invalid endpoint to push events towards".to_owned()),
            Some(endpoint) => policy
                .check_new(endpoint)
                .err()
                .map(|refusal| format!("Missing or invalid endpoint: {refusal}")),
        };
        let is_https =
            |source: &String| Url::parse(source).is_ok_and(|url| url.scheme() == "https" && url.has_host());
        let source = self.source.as_ref().filter(|source| !is_https(source));
        let source = source.map(|_| "SourceFilter must be an absolute https URI".to_owned());
        endpoint.into_iter().chain(source).collect()
    }

    /// Check 4: whose rules hold.
    pub fn kind(&self, apps_domain: &AppsDomain) -> Kind {
        let by_resource = self.resource.as_ref().is_some_and(|text| text.starts_with(APP_PREFIX));
        let by_host = self.source.as_ref().is_some_and(|source| apps_domain.holds(source));
        if by_resource || by_host { Kind::App } else { Kind::Generic }
    }

    /// Checks 6 and 7, and filters that nothing can ever pass, in the contract's texts.
    pub fn wrong_filters(&self, kind: Kind, asker: Asker) -> Vec<String> {
        let mut wrong = self.without_matches();
        if self.resource.as_ref().is_some_and(|text| !resource::is_urn(text)) {
            wrong.push("ResourceFilter must be a valid URN".to_owned());
        }
        let rules = match kind {
            Kind::App => self.wrong_for_app(asker),
            Kind::Generic => self.wrong_for_generic(),
        };
        wrong.extend(rules.into_iter().map(str::to_owned));
        wrong
    }

    /// Filters are compared letter by letter: a pattern, or nothing but blanks, would be silence.
    fn without_matches(&self) -> Vec<String> {
        let Self { endpoint: _, source, resource, subject, alternative, kind, subunits: _ } = self;
        let texts = [
            ("SourceFilter", source),
            ("ResourceFilter", resource),
            ("SubjectFilter", subject),
            ("AlternativeSubjectFilter", alternative),
            ("TypeFilter", kind),
        ];
        let blank = texts.iter().filter(|(_, text)| text.as_ref().is_some_and(|text| text.trim().is_empty()));
        let mut wrong: Vec<String> =
            blank.map(|(name, _)| format!("{name} is blank; leave it out to get everything")).collect();
        if kind.as_ref().is_some_and(|kind| kind.contains(['*', '%'])) {
            wrong.push("TypeFilter is compared as it is; patterns with * or % match nothing".to_owned());
        }
        wrong
    }

    /// Checks 7a to 7e.
    fn wrong_for_app(&self, asker: Asker) -> Vec<&'static str> {
        let has_subject = self.subject.is_some() || self.alternative.is_some();
        let of_source = self.source.as_ref().map(|source| app_of_source(source));
        let differ = match (&self.resource, &of_source) {
            (Some(resource), Some(Some(derived))) => resource != derived,
            (_, _) => false,
        };
        let rules = [
            (!has_subject && !asker.is_org, NO_SUBJECT),
            (self.subunits && !has_subject, "IncludeSubunits needs a subject filter"),
            (!asker.has_consumer, NO_CONSUMER),
            (
                of_source == Some(None),
                "A valid app id is required in the source filter: {environment}/{org}/{app}",
            ),
            (differ, "Provided resource filter and source filter are not compatible"),
        ];
        rules.into_iter().filter(|(wrong, _)| *wrong).map(|(_, text)| text).collect()
    }

    /// Check 7f.
    fn wrong_for_generic(&self) -> Vec<&'static str> {
        let rules = [
            (self.resource.is_none(), "Resource filter is required"),
            (self.source.is_some(), "Source filter is not supported for subscriptions on this resource"),
            (
                self.alternative.is_some(),
                "AlternativeSubject is not supported for subscriptions on generic event sources",
            ),
            (self.subunits && self.subject.is_none(), "IncludeSubunits needs a subject filter"),
        ];
        rules.into_iter().filter(|(wrong, _)| *wrong).map(|(_, text)| text).collect()
    }

    /// The subject as its owner will read it again, where it is shown in other words than it is stored: an organisation's number.
    /// A person's is shown as the party alone.
    pub fn subject_to_show(&self) -> Option<String> {
        self.subject.clone().filter(|text| subject::is_organisation_number(text))
    }

    /// The resource that results, in the form that is stored and asked about.
    pub fn stored_resource(&self) -> Option<String> {
        self.resource.clone().or_else(|| app_of_source(self.source.as_ref()?))
    }
}

/// The contract's text where no subject fits the caller.
pub const NO_SUBJECT: &str = "A valid subject to the authenticated identity is required";
/// The contract's text where the caller has no name to receive under.
pub const NO_CONSUMER: &str = "Missing event consumer";

/// A resource as it is stored: lower case, as that of every event, and by its present name.
fn stored_form(text: &str) -> String {
    let lower = text.to_lowercase();
    resource::of_legacy(&lower).unwrap_or(lower)
}

/// The resource of the app whose path a source filter is: exactly `/{org}/{app}`.
fn app_of_source(source: &str) -> Option<String> {
    let url = Url::parse(source).ok()?;
    let parts: Vec<&str> = url.path().split('/').collect();
    match parts.as_slice() {
        ["", org, app] if !org.is_empty() && !app.is_empty() => Some(resource::app(org, app).to_lowercase()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORG: Asker = Asker { is_org: true, has_consumer: true };

    fn wish(json: &str) -> Wish {
        let (wish, wrong) = Wish::read(json.as_bytes()).unwrap();
        assert_eq!(wrong, [], "{json}");
        wish
    }

    /// What is wrong with the members, as one text.
    fn members(json: &str) -> String {
        let (_, wrong) = Wish::read(json.as_bytes()).unwrap();
        wrong.iter().map(|(name, text)| format!("{name} {text};")).collect()
    }

    fn filters(json: &str, asker: Asker) -> String {
        let wish = wish(json);
        wish.wrong_filters(wish.kind(&"apps.altinn.no".parse().unwrap()), asker).join(";")
    }

    #[test]
    fn names_compare_without_case_and_empty_filters_count_as_absent() {
        let read = wish(
            r#"{"endpoint":"https://x.no/a","TypeFilter":"","SUBJECTfilter":"party/1","consumer":"/org/evil","sourceFilter":null,"includeSubunits":null,"unknown":[1]}"#,
        );
        let expected = Wish {
            endpoint: Some("https://x.no/a".into()),
            subject: Some("party/1".into()),
            ..Wish::default()
        };
        assert_eq!(read, expected);
        assert!(Wish::read(b"[]").is_err() && Wish::read(b"").is_err());
    }

    #[test]
    fn the_same_member_twice_is_refused_in_any_spelling() {
        assert_eq!(
            members(r#"{"endpoint":"https://a.no/","endPoint":"https://b.no/"}"#),
            "endPoint stands there more than once;"
        );
        assert!(Wish::read(br#"{"endPoint":"https://a.no/","endPoint":"https://b.no/"}"#).is_err());
        assert_eq!(members(r#"{"endpoint":null,"endPoint":"https://b.no/"}"#), "", "null is absent");
    }

    #[test]
    fn members_of_another_type_are_told_all_at_once_and_never_repeated() {
        let told = members(
            r#"{"includeSubunits":"01010100000","subjectFilter":1010100000,"typeFilter":"a\u0000","endPoint":["01010100000"]}"#,
        );
        for part in [
            "endPoint is not a string",
            "subjectFilter is not a string",
            "typeFilter holds a control character",
            "includeSubunits is neither true nor false",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("10101"), "{told}");
        for no_object in [r#""01010100000""#, "1010100000", r#"{"a":01010100000}"#, r#"["01010100000"]"#] {
            let refusal = format!("{:?}", Wish::read(no_object.as_bytes()).unwrap_err());
            assert!(!refusal.contains("10101"), "{no_object}: {refusal}");
        }
        let long = |name: &str, length: usize| members(&format!(r#"{{"{name}":"{}"}}"#, "a".repeat(length)));
        assert_eq!(long("typeFilter", 512) + &long("subjectFilter", 512) + &long("endPoint", 2_048), "");
        assert_eq!(long("typeFilter", 513), "typeFilter is longer than 512 bytes;", "no type is so long");
    }

    #[test]
    fn what_does_not_work_yet_is_refused_and_every_other_member_ignored() {
        for name in ["headers", "Secret", "FILTER", "filters", "mode"] {
            assert!(members(&format!(r#"{{"{name}":{{}}}}"#)).contains("is not supported yet"), "{name}");
        }
        assert_eq!(members(r#"{"filter":null,"filtering":1,"createdBy":"x","id":7,"retries":{}}"#), "");
    }

    #[test]
    fn endpoints_must_be_public_and_https() {
        let check = |json: &str| wish(json).wrong_addresses(AddressPolicy::default()).join(";");
        assert!(check("{}").starts_with("Missing or invalid endpoint"));
        for endpoint in [
            "http://example.com/",
            "https://127.0.0.1/",
            "https://[::ffff:10.0.0.1]/",
            "nonsense",
            "https:example.com/x",
            r"https:\\\\example.com",
            "https://example.com:0/",
        ] {
            assert!(
                check(&format!(r#"{{"endPoint":"{endpoint}"}}"#)).starts_with("Missing or inv"),
                "{endpoint}"
            );
        }
        assert_eq!(check(r#"{"endPoint":"https://example.com/a"}"#), "");
        let both = check(r#"{"endPoint":"https://10.0.0.1/a","sourceFilter":"ftp://x"}"#);
        assert!(both.contains("public address") && both.contains("SourceFilter"), "{both}");
    }

    #[test]
    fn the_kind_follows_from_the_resource_or_the_host() {
        let kind = |json| wish(json).kind(&"apps.altinn.no".parse().unwrap());
        assert_eq!(kind(r#"{"resourceFilter":"URN:altinn:resource:app_ttd_x"}"#), Kind::App);
        assert_eq!(kind(r#"{"resourceFilter":"urn:altinn:resource:altinnapp.ttd.x"}"#), Kind::App);
        assert_eq!(kind(r#"{"sourceFilter":"https://ttd.apps.altinn.no/ttd/x"}"#), Kind::App);
        assert_eq!(kind(r#"{"resourceFilter":"urn:altinn:resource:other"}"#), Kind::Generic);
        assert_eq!(kind(r#"{"sourceFilter":"https://evilapps.altinn.no/ttd/x"}"#), Kind::Generic);
    }

    #[test]
    fn a_resource_in_any_case_and_of_the_old_form_is_stored_as_events_have_it() {
        for (given, stored) in [
            (r#""resourceFilter":"URN:Altinn:Resource:App_TTD_x""#, "urn:altinn:resource:app_ttd_x"),
            (r#""resourceFilter":"urn:altinn:resource:altinnapp.ttd.x""#, "urn:altinn:resource:app_ttd_x"),
            (r#""sourceFilter":"https://ttd.apps.altinn.no/TTD/x""#, "urn:altinn:resource:app_ttd_x"),
        ] {
            let wish = wish(&format!("{{{given}}}"));
            assert_eq!(wish.stored_resource().as_deref(), Some(stored), "{given}");
            assert_eq!(wish.wrong_filters(Kind::App, ORG), Vec::<String>::new());
        }
    }

    #[test]
    fn filters_that_can_never_match_are_refused() {
        let resource = r#""resourceFilter":"urn:altinn:resource:r""#;
        for kind in ["app.*", "%", "app.instance.%", "*"] {
            let told = filters(&format!(r#"{{{resource},"typeFilter":"{kind}"}}"#), ORG);
            assert!(told.contains("patterns"), "{kind}: {told}");
        }
        for name in ["typeFilter", "subjectFilter"] {
            assert!(
                filters(&format!(r#"{{{resource},"{name}":" \u3000 "}}"#), ORG).contains("is blank"),
                "{name}"
            );
        }
        assert!(filters(r#"{"resourceFilter":" "}"#, ORG).contains("ResourceFilter is blank"));
        assert_eq!(filters(&format!(r#"{{{resource},"typeFilter":"app.instance.created"}}"#), ORG), "");
    }

    #[test]
    fn the_rules_of_app_subscriptions() {
        let app = r#"{"sourceFilter":"https://ttd.apps.altinn.no/ttd/x"}"#;
        assert_eq!(filters(app, ORG), "");
        let nobody = filters(app, Asker { is_org: false, has_consumer: false });
        assert!(nobody.contains(NO_SUBJECT) && nobody.contains(NO_CONSUMER), "all at once: {nobody}");
        assert!(filters(r#"{"sourceFilter":"https://ttd.apps.altinn.no/ttd/x/"}"#, ORG).contains("app id"));
        let two = r#"{"sourceFilter":"https://ttd.apps.altinn.no/ttd/x","resourceFilter":"urn:altinn:resource:app_ttd_y"}"#;
        assert!(filters(two, ORG).contains("compatible"));
        let subunits = r#"{"resourceFilter":"urn:altinn:resource:app_ttd_y","includeSubunits":true}"#;
        assert!(filters(subunits, ORG).contains("IncludeSubunits"));
    }

    #[test]
    fn the_rules_of_generic_subscriptions() {
        assert!(filters("{}", ORG).contains("required"));
        let with =
            |more: &str| filters(&format!(r#"{{"resourceFilter":"urn:altinn:resource:r"{more}}}"#), ORG);
        assert_eq!(with(""), "");
        let all = with(
            r#","sourceFilter":"https://x.no","alternativeSubjectFilter":"/org/1","includeSubunits":true"#,
        );
        for part in ["Source filter is not", "AlternativeSubject is not", "IncludeSubunits needs"] {
            assert!(all.contains(part), "{part}: {all}");
        }
    }
}
