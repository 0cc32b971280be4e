//! What a subscriber asks for, and whether it may be asked for: the checks of the contract (§6.2) in their order. Pure.

use event::{
    address::AddressPolicy,
    resource::{self, APP_PREFIX},
};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use url::Url;

use crate::{error::Refusal, query::check_text};

/// Longest member of a subscription request, in bytes.
const TEXT_MAX: usize = 2_048;

/// The body of a subscription request; names compare without regard to case, `""` counts as absent.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase", default)]
pub struct Wish {
    /// The webhook address.
    pub endpoint: Option<String>,
    /// Base of the sources.
    #[serde(rename = "sourcefilter")]
    pub source: Option<String>,
    /// The resource.
    #[serde(rename = "resourcefilter")]
    pub resource: Option<String>,
    /// The subject.
    #[serde(rename = "subjectfilter")]
    pub subject: Option<String>,
    /// Another name of the subject; looked up, never stored.
    #[serde(rename = "alternativesubjectfilter")]
    pub alternative: Option<String>,
    /// The type.
    #[serde(rename = "typefilter")]
    pub kind: Option<String>,
    /// Whether events about sub-units count.
    #[serde(rename = "includesubunits")]
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

/// A plain refusal of the contract.
pub fn text_error(text: impl Into<String>) -> Refusal {
    Refusal::Text(StatusCode::BAD_REQUEST, text.into())
}

impl Wish {
    /// Reads a body.
    ///
    /// # Errors
    /// It is no JSON object of this shape.
    pub fn read(body: &[u8]) -> Result<Self, Refusal> {
        let wrong =
            |error: &serde_json::Error| Refusal::wrong("RequestBody", format!("cannot be read: {error}"));
        let members: Map<String, Value> = serde_json::from_slice(body).map_err(|error| wrong(&error))?;
        let lowered = members
            .into_iter()
            .filter(|(_, value)| !value.is_null() && value.as_str() != Some(""))
            .map(|(name, value)| (name.to_lowercase(), value))
            .collect();
        let wish: Self = serde_json::from_value(Value::Object(lowered)).map_err(|error| wrong(&error))?;
        wish.check_texts()?;
        Ok(wish)
    }

    fn check_texts(&self) -> Result<(), Refusal> {
        let Self { endpoint, source, resource, subject, alternative, kind, subunits: _ } = self;
        let texts = [
            ("endPoint", endpoint),
            ("sourceFilter", source),
            ("resourceFilter", resource),
            ("subjectFilter", subject),
            ("alternativeSubjectFilter", alternative),
            ("typeFilter", kind),
        ];
        for (name, text) in texts {
            let text = text.as_deref().unwrap_or_default();
            check_text(name, text)?;
            if text.len() > TEXT_MAX {
                return Err(Refusal::wrong(name, format!("is longer than {TEXT_MAX} bytes")));
            }
        }
        Ok(())
    }

    /// Checks 2 and 3: addresses.
    ///
    /// # Errors
    /// The contract's texts.
    pub fn check_addresses(&self, policy: AddressPolicy) -> Result<(), Refusal> {
        let Some(endpoint) = &self.endpoint else {
            return Err(text_error("Missing or invalid endpoint to push events towards"));
        };
        policy
            .check_url(endpoint)
            .map_err(|refusal| text_error(format!("Missing or invalid endpoint: {refusal}")))?;
        if let Some(source) = &self.source {
            let good = Url::parse(source).is_ok_and(|url| url.scheme() == "https" && url.has_host());
            if !good {
                return Err(text_error("SourceFilter must be an absolute https URI"));
            }
        }
        Ok(())
    }

    /// Check 4: whose rules hold.
    pub fn kind(&self, apps_domain: &str) -> Kind {
        let by_resource =
            self.resource.as_ref().is_some_and(|text| text.to_lowercase().starts_with(APP_PREFIX));
        let host =
            self.source.as_ref().and_then(|source| Url::parse(source).ok()?.host_str().map(str::to_owned));
        let by_host = host.is_some_and(|host| {
            host.strip_suffix(apps_domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        });
        if by_resource || by_host { Kind::App } else { Kind::Generic }
    }

    /// Check 6.
    ///
    /// # Errors
    /// The contract's text.
    pub fn check_resource(&self) -> Result<(), Refusal> {
        match &self.resource {
            Some(text) if !resource::is_urn(&text.to_lowercase()) => {
                Err(text_error("ResourceFilter must be a valid URN"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Checks 7a to 7e, with the subject that the alternative one stands for; the resource that results.
    ///
    /// # Errors
    /// The contract's texts.
    pub fn check_app(
        &self,
        subject: Option<&str>,
        is_org: bool,
        has_consumer: bool,
    ) -> Result<String, Refusal> {
        if subject.is_none() && (!is_org || self.alternative.is_some()) {
            return Err(text_error("A valid subject to the authenticated identity is required"));
        }
        if self.subunits && subject.is_none() {
            return Err(text_error("IncludeSubunits needs a subject filter"));
        }
        if !has_consumer {
            return Err(text_error("Missing event consumer"));
        }
        let from_source = match &self.source {
            None => None,
            Some(source) => Some(app_of_source(source).ok_or_else(|| {
                text_error("A valid app id is required in the source filter: {environment}/{org}/{app}")
            })?),
        };
        match (&self.resource, from_source) {
            (Some(resource), Some(derived)) if resource.to_lowercase() != derived.to_lowercase() => {
                Err(text_error("Provided resource filter and source filter are not compatible"))
            }
            (Some(resource), _) => Ok(resource.clone()),
            (None, Some(derived)) => Ok(derived),
            (None, None) => Err(text_error("A resource filter or a source filter is required")),
        }
    }

    /// Check 7f; the resource.
    ///
    /// # Errors
    /// The contract's texts.
    pub fn check_generic(&self) -> Result<String, Refusal> {
        let Some(resource) = &self.resource else { return Err(text_error("Resource filter is required")) };
        if self.source.is_some() {
            return Err(text_error("Source filter is not supported for subscriptions on this resource"));
        }
        if self.alternative.is_some() {
            return Err(text_error(
                "AlternativeSubject is not supported for subscriptions on generic event sources",
            ));
        }
        if self.subunits && self.subject.is_none() {
            return Err(text_error("IncludeSubunits needs a subject filter"));
        }
        Ok(resource.clone())
    }
}

/// The resource of the app whose path a source filter is: exactly `/{org}/{app}`.
fn app_of_source(source: &str) -> Option<String> {
    let url = Url::parse(source).ok()?;
    let parts: Vec<&str> = url.path().split('/').collect();
    match parts.as_slice() {
        ["", org, app] if !org.is_empty() && !app.is_empty() => Some(resource::app(org, app)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(json: &str) -> Wish {
        Wish::read(json.as_bytes()).unwrap()
    }

    fn text<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
        match result {
            Err(Refusal::Text(status, text)) => format!("{} {text}", status.as_u16()),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_compare_without_case_and_empty_filters_count_as_absent() {
        let read = wish(
            r#"{"endpoint":"https://x.no/a","TypeFilter":"","SUBJECTfilter":"party/1","consumer":"/org/evil"}"#,
        );
        assert_eq!(read.endpoint.as_deref(), Some("https://x.no/a"));
        assert_eq!((read.kind.as_deref(), read.subject.as_deref()), (None, Some("party/1")));
        assert!(Wish::read(b"[]").is_err());
    }

    #[test]
    fn texts_that_cannot_be_stored_are_refused() {
        assert!(Wish::read(br#"{"typeFilter":"a\u0000"}"#).is_err());
        assert!(
            Wish::read(format!(r#"{{"endPoint":"https://x.no/{}"}}"#, "a".repeat(2_048)).as_bytes()).is_err()
        );
    }

    #[test]
    fn endpoints_must_be_public_and_https() {
        let check = |json: &str| text(wish(json).check_addresses(AddressPolicy::default()));
        assert!(check("{}").starts_with("400 Missing or invalid endpoint"));
        for endpoint in
            ["http://example.com/", "https://127.0.0.1/", "https://[::ffff:10.0.0.1]/", "nonsense"]
        {
            assert!(check(&format!(r#"{{"endPoint":"{endpoint}"}}"#)).starts_with("400 "), "{endpoint}");
        }
        assert_eq!(check(r#"{"endPoint":"https://example.com/a"}"#), "Ok(())");
        assert!(
            check(r#"{"endPoint":"https://example.com/a","sourceFilter":"ftp://x"}"#)
                .starts_with("400 Source")
        );
    }

    #[test]
    fn the_kind_follows_from_the_resource_or_the_host() {
        let kind = |json| wish(json).kind("apps.altinn.no");
        assert_eq!(kind(r#"{"resourceFilter":"URN:altinn:resource:app_ttd_x"}"#), Kind::App);
        assert_eq!(kind(r#"{"sourceFilter":"https://ttd.apps.altinn.no/ttd/x"}"#), Kind::App);
        assert_eq!(kind(r#"{"resourceFilter":"urn:altinn:resource:other"}"#), Kind::Generic);
        assert_eq!(kind(r#"{"sourceFilter":"https://evilapps.altinn.no/ttd/x"}"#), Kind::Generic);
    }

    #[test]
    fn the_rules_of_app_subscriptions() {
        let app = wish(r#"{"sourceFilter":"https://ttd.apps.altinn.no/ttd/x"}"#);
        assert_eq!(app.check_app(None, true, true).unwrap(), "urn:altinn:resource:app_ttd_x");
        assert!(text(app.check_app(None, false, true)).contains("subject"));
        assert!(text(app.check_app(None, true, false)).contains("consumer"));
        let slash = wish(r#"{"sourceFilter":"https://ttd.apps.altinn.no/ttd/x/"}"#);
        assert!(text(slash.check_app(None, true, true)).contains("app id"));
        let two = wish(
            r#"{"sourceFilter":"https://ttd.apps.altinn.no/ttd/x","resourceFilter":"urn:altinn:resource:app_ttd_y"}"#,
        );
        assert!(text(two.check_app(None, true, true)).contains("compatible"));
    }

    #[test]
    fn the_rules_of_generic_subscriptions() {
        assert!(text(wish("{}").check_generic()).contains("required"));
        let with = |more: &str| {
            wish(&format!(r#"{{"resourceFilter":"urn:altinn:resource:r"{more}}}"#)).check_generic()
        };
        assert_eq!(with("").unwrap(), "urn:altinn:resource:r");
        for more in [
            r#","sourceFilter":"https://x.no""#,
            r#","alternativeSubjectFilter":"/org/1""#,
            r#","includeSubunits":true"#,
        ] {
            assert!(text(with(more)).starts_with("400"), "{more}");
        }
    }
}
