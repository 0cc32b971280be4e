//! Whether what a subscriber asks for may be asked for: the checks of the contract (§6.2), all that is wrong at once. Pure.

use event::{
    address::AddressPolicy,
    resource::{self, APP_PREFIX, AppsDomain},
};
use url::Url;

use crate::wish::{Wish, app_of_source};

/// The contract's text where no subject fits the caller.
pub const NO_SUBJECT: &str = "A valid subject to the authenticated identity is required";
/// The contract's text where the caller has no name to receive under.
pub const NO_CONSUMER: &str = "Missing event consumer";

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

impl Wish {
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

    fn domain() -> AppsDomain {
        "apps.altinn.no".parse().unwrap()
    }

    fn filters(json: &str, asker: Asker) -> String {
        let wish = wish(json);
        wish.wrong_filters(wish.kind(&domain()), asker).join(";")
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
        let kind = |json| wish(json).kind(&domain());
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
