//! What a subscriber asks for: the body of a request, read. Whether it may be asked for say the `rules`. Pure.

use event::{Draft, limits::ATTRIBUTE_MAX, resource, subject};
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

/// A resource as it is stored: lower case, as that of every event, and by its present name.
fn stored_form(text: &str) -> String {
    let lower = text.to_lowercase();
    resource::of_legacy(&lower).unwrap_or(lower)
}

/// The resource of the app whose path a source filter is: exactly `/{org}/{app}`.
pub(crate) fn app_of_source(source: &str) -> Option<String> {
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
    fn only_an_organisations_number_is_shown_as_it_was_sent() {
        for (sent, is_shown) in [
            ("urn:altinn:organization:identifier-no:991825827", true),
            ("/organisation/991825827", true),
            ("/person/02857010054", false),
            ("urn:altinn:person:identifier-no:02857010054", false),
            ("party/1", false),
            ("/org/ttd", false),
        ] {
            let shown = wish(&format!(r#"{{"subjectFilter":"{sent}"}}"#)).subject_to_show();
            assert_eq!(shown.as_deref(), is_shown.then_some(sent));
        }
        assert_eq!(wish(r#"{"alternativeSubjectFilter":"/organisation/991825827"}"#).subject_to_show(), None);
    }
}
