//! What the server sets: on the seed path what is missing, on the app path everything but what the app says. Pure.

use event::{
    Draft, Event, Micros, Violation, Violations,
    resource::{self, AppsDomain},
    subject,
};

/// What a server knows that a draft may not.
pub(crate) struct Server<'a> {
    /// Domain of the apps.
    pub(crate) apps_domain: &'a AppsDomain,
    /// The time now.
    pub(crate) now: Micros,
    /// Makes an id that nobody has used.
    pub(crate) new_id: fn() -> String,
}

/// The event that a publisher on the seed path means: `ttd/app/1/{guid}` is the source of an app's instance, `party/1` a subject.
pub(crate) fn seed(mut draft: Draft, server: &Server<'_>) -> Result<Event, Violations> {
    if !draft.has("specversion") {
        draft.set_text("specversion", "1.0");
    }
    if !draft.has("id") {
        draft.set_text("id", &(server.new_id)());
    }
    if !draft.has("time") {
        draft.set_text("time", &server.now.to_rfc3339());
    }
    if let Some(text) = draft.text("subject") {
        let canonical = subject::canonical(&text);
        if canonical != text {
            draft.set_text("subject", &canonical);
        }
    }
    if let Some(source) = draft.text("source").and_then(|source| instance_source(&source, server.apps_domain))
    {
        draft.set_text("source", &source);
    }
    if let Some(source) = draft.text("source") {
        derive_resource(&mut draft, &source, server.apps_domain);
    }
    draft.validate()
}

/// The event of an app (contract §1.3, §4.1). Names of members are compared without regard to case (contract §10, trap 4).
pub(crate) fn app(draft: &Draft, server: &Server<'_>) -> Result<Event, Violations> {
    let said = Said::of(draft)?;
    let mut event = Draft::new();
    event.set_text("specversion", "1.0");
    event.set_text("id", &(server.new_id)());
    event.set_text("source", &said.source);
    event.set_text("type", &said.kind);
    event.set_text("subject", &said.subject);
    event.set_text("time", &server.now.to_rfc3339());
    if let Some(text) = said.alternative_subject {
        event.set_text("alternativesubject", &text);
    }
    derive_resource(&mut event, &said.source, server.apps_domain);
    event.validate()
}

/// What an app says about its event.
struct Said {
    source: String,
    subject: String,
    kind: String,
    alternative_subject: Option<String>,
}

impl Said {
    fn of(draft: &Draft) -> Result<Self, Violations> {
        let mut wrong = Vec::new();
        let mut required = |name: &str| match text_of(draft, name) {
            Ok(Some(text)) if !text.is_empty() => text,
            Ok(_) => {
                wrong.push(Violation::new(
                    name,
                    "is missing; source, subject, type and specversion are mandatory",
                ));
                String::new()
            }
            Err(violation) => {
                wrong.push(violation);
                String::new()
            }
        };
        let (source, subject, kind) = (required("source"), required("subject"), required("type"));
        required("specversion");
        if !source.is_empty() && url::Url::parse(&source).is_err() {
            wrong.push(Violation::new("source", "is not an absolute URI"));
        }
        let alternative_subject = text_of(draft, "alternativesubject").unwrap_or_else(|violation| {
            wrong.push(violation);
            None
        });
        let alternative_subject = alternative_subject.filter(|text| !text.is_empty());
        if wrong.is_empty() {
            Ok(Self { source, subject, kind, alternative_subject })
        } else {
            Err(Violations(wrong))
        }
    }
}

/// The text of the member with that name in any case; nothing when it is absent or null.
fn text_of(draft: &Draft, name: &str) -> Result<Option<String>, Violation> {
    let mut members = draft.names().filter(|member| member.eq_ignore_ascii_case(name));
    let Some(member) = members.next() else { return Ok(None) };
    if members.next().is_some() {
        return Err(Violation::new(name, "stands there more than once"));
    }
    match draft.text(member) {
        Some(text) => Ok(Some(text)),
        None if draft.has(member) => Err(Violation::new(name, "is not a string")),
        None => Ok(None),
    }
}

/// The absolute source of `{org}/{app}/{party}/{instance}`, with or without a slash before it.
fn instance_source(source: &str, apps_domain: &AppsDomain) -> Option<String> {
    let parts: Vec<&str> = source.strip_prefix('/').unwrap_or(source).split('/').collect();
    let [org, app, party, instance] = parts.as_slice() else { return None };
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let named = [org, app, party, instance].into_iter().all(|part| is_name(part));
    let host = apps_domain.host_of(org);
    named.then(|| format!("https://{host}/{org}/{app}/instances/{party}/{instance}"))
}

/// Sets resource and instance from an app's source where they are missing.
fn derive_resource(draft: &mut Draft, source: &str, apps_domain: &AppsDomain) {
    let Some(app) = resource::parse_app_source(source).filter(|_| apps_domain.holds(source)) else {
        return;
    };
    if !draft.has("resource") {
        draft.set_text("resource", &resource::app(&app.org, &app.app));
    }
    if let Some((party, instance)) = app.instance
        && !draft.has("resourceinstance")
    {
        draft.set_text("resourceinstance", &format!("{party}/{instance}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_server<T>(make: impl FnOnce(&Server<'_>) -> T) -> T {
        make(&Server {
            apps_domain: &"apps.altinn.no".parse().unwrap(),
            now: Micros(1_795_000_000_123_456),
            new_id: || "new-id".to_owned(),
        })
    }

    fn seeded(json: &str) -> Result<Event, Violations> {
        with_server(|server| seed(Draft::parse(json.as_bytes()).unwrap(), server))
    }

    fn from_app(json: &str) -> Result<Event, Violations> {
        with_server(|server| app(&Draft::parse(json.as_bytes()).unwrap(), server))
    }

    const INSTANCE: &str = "7f20ad9e-4a75-4be4-a4d7-2f4b4e2a5c7b";

    #[test]
    fn the_seeds_own_example_becomes_a_valid_event() {
        let event = seeded(&format!(
            r#"{{"source":"skd/skattemelding/1234/{INSTANCE}","subject":"party/1234","type":"instance.created","data":{{"n":1.50}}}}"#
        ))
        .unwrap();
        assert_eq!(
            event.json(),
            format!(
                concat!(
                    r#"{{"source":"https://skd.apps.altinn.no/skd/skattemelding/instances/1234/{0}","subject":"/party/1234","#,
                    r#""type":"instance.created","data":{{"n":1.50}},"specversion":"1.0","id":"new-id","#,
                    r#""time":"2026-11-18T11:06:40.123456Z","resource":"urn:altinn:resource:app_skd_skattemelding","#,
                    r#""resourceinstance":"1234/{0}"}}"#
                ),
                INSTANCE
            )
        );
    }

    #[test]
    fn what_the_publisher_said_stays() {
        let text = r#"{"specversion":"1.0","id":"1","source":"https://x.example/a","type":"t","time":"2026-01-01T00:00:00.1+01:00","resource":"urn:altinn:resource:x","subject":"free"}"#;
        assert_eq!(seeded(text).unwrap().json(), text);
    }

    #[test]
    fn a_source_of_nobodys_app_gives_no_resource() {
        for source in
            ["https://ttd.apps.altinn.no.evil.example/ttd/app/instances/1/2", "a/b/c", "a b/c/1/2", "//a/b/1"]
        {
            let wrong = seeded(&format!(r#"{{"source":"{source}","type":"t"}}"#)).unwrap_err().to_string();
            assert!(wrong.contains("resource is missing"), "{source}: {wrong}");
        }
    }

    #[test]
    fn an_app_event_has_what_the_server_sets_and_nothing_else() {
        let event = from_app(&format!(
            r#"{{"Source":"https://ttd.apps.altinn.no/ttd/apps-test/instances/1/{INSTANCE}","SUBJECT":"/party/1","type":"app.instance.created","specversion":"1.0","alternativesubject":"/org/991825827","id":"mine","time":"2001-01-01T00:00:00Z","data":{{"x":1}},"unknown":[1]}}"#
        ))
        .unwrap();
        assert_eq!(event.id(), "new-id");
        assert_eq!(event.resource(), "urn:altinn:resource:app_ttd_apps-test");
        assert_eq!(event.resource_instance(), Some(format!("1/{INSTANCE}").as_str()));
        assert_eq!(event.alternative_subject(), Some("/org/991825827"));
        assert_eq!(event.time(), Some(Micros(1_795_000_000_123_456)));
        assert!(!event.json().contains("data") && !event.json().contains("unknown"), "{}", event.json());
    }

    #[test]
    fn an_app_event_names_all_that_is_missing() {
        let wrong =
            from_app(r#"{"source":"relative","type":"","alternativesubject":7,"Type":"x"}"#).unwrap_err();
        let names: Vec<&str> = wrong.0.iter().map(|violation| violation.attribute.as_str()).collect();
        assert_eq!(names, ["subject", "type", "specversion", "source", "alternativesubject"]);
    }
}
