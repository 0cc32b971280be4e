//! The five questions that the platform asks about rights, attribute by attribute as the contract lists them (§3.2 to §3.5).
//!
//! A question is pure data: it is built without I/O, and its key tells which questions have the same answer. Whether an answer
//! is known, asked for or refused without asking is not decided here, with two exceptions that the contract fixes: a publisher
//! with the scope for publishing without asking, and an event that no app-feed question can be built for.

use std::{borrow::Cow, fmt, sync::Arc};

use event::{
    Event,
    resource::APP_PREFIX,
    subject::{PartyNumber, party_id, party_number},
};
use sha2::{Digest, Sha256};
use url::Url;

use crate::{
    attribute::{
        APP, APP_RESOURCE, Attribute, DataType, EVENT_ID, EVENT_SOURCE, EVENT_TYPE, INSTANCE_ID, NOBODY, ORG,
        ORGANISATION_NUMBER, PARTY_ID, PARTY_UUID, PERSON_NUMBER, RESOURCE, RESOURCE_INSTANCE, digest_into,
        of_party_text, of_urn,
    },
    caller::Caller,
    outcome::{Decision, Level, Purpose},
    scope::{PUBLISH_ADMIN, SUBSCRIBE},
    subject::Subject,
};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Publish,
    Read,
    Subscribe,
}

impl Action {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Subscribe => "subscribe",
        }
    }
}

/// Digest of everything that decides: 128 bits.
pub(crate) type QuestionKey = u128;

/// One question about one subject, action and resource. See the module.
#[derive(Clone)]
pub struct Question {
    pub(crate) purpose: Purpose,
    pub(crate) subject: Arc<Subject>,
    pub(crate) action: Action,
    pub(crate) resource: Vec<Attribute>,
    /// Present where the contract compares obligations.
    pub(crate) level: Option<Level>,
    /// Sent in the multi-decision form even when it is alone.
    pub(crate) is_multi: bool,
    /// The answer, when it is fixed without asking.
    pub(crate) answer: Option<Decision>,
}

/// Names and values may hold person numbers, so only the action shows.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("action", &self.action).finish_non_exhaustive()
    }
}

impl Question {
    /// Nobody at all may nothing: the PDP throws on an empty subject.
    fn new(purpose: Purpose, subject: Arc<Subject>, action: Action, resource: Vec<Attribute>) -> Self {
        let answer = subject.attributes.is_empty().then_some(Decision::Refuse);
        Self { purpose, subject, action, resource, level: None, is_multi: false, answer }
    }

    fn multi(mut self) -> Self {
        self.is_multi = true;
        self
    }

    fn at_level_of(mut self, caller: &Caller) -> Self {
        self.level = Some(Level { value: caller.auth_level, is_org: caller.org.is_some() });
        self
    }

    fn answered(mut self, answer: Option<Decision>) -> Self {
        self.answer = answer.or(self.answer);
        self
    }

    pub(crate) fn key(&self) -> QuestionKey {
        let mut hasher = Sha256::new();
        hasher.update(self.subject.digest);
        hasher.update(self.action.text());
        digest_into(&mut hasher, &self.resource);
        let digest: [u8; 32] = hasher.finalize().into();
        digest.first_chunk().map_or(0, |half| u128::from_be_bytes(*half))
    }
}

/// May this caller publish this event? Permitted without asking for publishers with [`PUBLISH_ADMIN`].
pub fn publish(caller: &Caller, event: &Event) -> Question {
    let preset = caller.has_scope(PUBLISH_ADMIN).then_some(Decision::Permit);
    Question::new(Purpose::Publish, Arc::clone(&caller.subject), Action::Publish, generic(event))
        .answered(preset)
}

/// May this caller read this event in an app feed? Refused without asking when the source is not that of an instance of the
/// resource's app, or the subject not a party's.
pub fn read_app(caller: &Caller, event: &Event) -> Question {
    let resource = app_feed(event);
    let preset = resource.is_none().then_some(Decision::Refuse);
    Question::new(Purpose::Read, Arc::clone(&caller.subject), Action::Read, resource.unwrap_or_default())
        .multi()
        .at_level_of(caller)
        .answered(preset)
}

/// May this caller read this event in the generic feed?
pub fn read_generic(caller: &Caller, event: &Event) -> Question {
    Question::new(Purpose::Read, Arc::clone(&caller.subject), Action::Subscribe, generic(event))
        .multi()
        .at_level_of(caller)
}

/// May this caller read this event in a feed of many resources? An app's event as in an app feed; any other as in the generic feed,
/// with the scope that it demands.
pub fn read_by_resource(caller: &Caller, event: &Event) -> Question {
    if is_app_resource(event.resource()) { read_app(caller, event) } else { read_with_scope(caller, event) }
}

/// May this caller read this event in whichever feed shows it?
pub fn read_anywhere(caller: &Caller, event: &Event) -> Question {
    let is_of_app_feed = is_app_resource(event.resource()) && app_feed(event).is_some();
    if is_of_app_feed { read_app(caller, event) } else { read_with_scope(caller, event) }
}

fn read_with_scope(caller: &Caller, event: &Event) -> Question {
    let preset = (!caller.has_scope(SUBSCRIBE)).then_some(Decision::Refuse);
    read_generic(caller, event).answered(preset)
}

/// May this caller subscribe as this consumer to this resource, about this subject (or about everybody)? The consumer is asked about,
/// and the caller's level is compared as for a read.
pub fn subscribe(caller: &Caller, consumer: &str, resource: &str, subject: Option<&str>) -> Question {
    let mut attributes: Vec<_> = of_urn(resource).into_iter().collect();
    attributes.extend(subject.map(about).unwrap_or_default());
    let is_app = is_app_resource(resource);
    if is_app {
        let (org, app) = org_and_app(resource);
        attributes.extend(org.map(|org| Attribute::new(ORG, org)));
        attributes.extend(app.map(|app| Attribute::new(APP, app)));
        attributes.push(Attribute::new(APP_RESOURCE, "events"));
    }
    let consumer = Arc::new(Subject::from_consumer(consumer));
    Question::new(Purpose::Subscribe, consumer, read_or_subscribe(is_app), attributes).at_level_of(caller)
}

/// May this event be sent to this consumer?
pub fn push(consumer: &str, event: &Event) -> Question {
    let is_app = is_app_resource(event.resource());
    let resource = if is_app { app_push(event) } else { generic(event) };
    let consumer = Arc::new(Subject::from_consumer(consumer));
    Question::new(Purpose::Deliver, consumer, read_or_subscribe(is_app), resource).multi()
}

fn read_or_subscribe(is_app: bool) -> Action {
    if is_app { Action::Read } else { Action::Subscribe }
}

/// The subject as the event's canonical one: `party/1` asks like `/party/1`. An event without a subject is about nobody.
fn subject_of(event: &Event) -> Vec<Attribute> {
    event.canonical_subject().as_deref().map(about).unwrap_or_default()
}

/// Names that tell which resource it is. A subject is the publisher's text: under one of these it would add a resource of its choice.
const OF_THE_RESOURCE: [&str; 6] = [RESOURCE, ORG, APP, APP_RESOURCE, INSTANCE_ID, RESOURCE_INSTANCE];

/// A subject as attributes (contract §3.3). One that is no party is about a party that nobody has: without a party the PDP would apply
/// rules that show it to more people. What Register must tell is resolved when the question is put.
fn about(subject: &str) -> Vec<Attribute> {
    let known = of_party_text(subject);
    let number = match party_number(subject) {
        Some(PartyNumber::Organisation(number)) => Some((ORGANISATION_NUMBER, number, DataType::XsdString)),
        Some(PartyNumber::Person(number)) => Some((PERSON_NUMBER, number, DataType::String)),
        None => None,
    };
    if let Some((id, number, data_type)) = number {
        let told = known.filter(|found| found.id == id);
        return vec![told.unwrap_or_else(|| Attribute::new(id, number).typed(data_type))];
    }
    let known = known.filter(|found| !OF_THE_RESOURCE.contains(&&*found.id));
    let is_party = known.as_ref().is_some_and(names_a_party);
    known.into_iter().chain((!is_party).then(nobody)).collect()
}

fn names_a_party(attribute: &Attribute) -> bool {
    match &*attribute.id {
        PARTY_ID => attribute.value.parse::<i64>().is_ok(),
        PARTY_UUID | PERSON_NUMBER | ORGANISATION_NUMBER => true,
        _other => false,
    }
}

/// The party that nobody has.
pub(crate) fn nobody() -> Attribute {
    Attribute::new(PARTY_ID, NOBODY).typed(DataType::XsdInteger)
}

fn generic(event: &Event) -> Vec<Attribute> {
    let mut attributes = vec![
        Attribute::new(EVENT_ID, event.id()).asked_back(),
        Attribute::new(EVENT_TYPE, event.event_type()),
        Attribute::new(EVENT_SOURCE, event.source()),
    ];
    attributes.extend(of_urn(event.resource()));
    attributes.extend(subject_of(event));
    attributes.extend(event.resource_instance().map(|instance| Attribute::new(RESOURCE_INSTANCE, instance)));
    attributes
}

fn app_feed(event: &Event) -> Option<Vec<Attribute>> {
    let path = path_and_query(event.source())?;
    let mut parts = path.split('/');
    let [_, org, app, _, party, guid] = [(); 6].map(|()| parts.next().unwrap_or_default());
    if path.matches('/').count() != 5 {
        return None;
    }
    let subject = event.canonical_subject()?;
    subject.split('/').nth(2)?;
    let subject_party = party_id(&subject).map_or_else(|| NOBODY.to_owned(), |party| party.to_string());
    is_of_app(event, org, app).then(|| {
        vec![
            Attribute::new(INSTANCE_ID, format!("{party}/{guid}")).asked_back(),
            Attribute::new(APP_RESOURCE, "events"),
            Attribute::new(EVENT_ID, event.id()).asked_back(),
            Attribute::new(PARTY_ID, subject_party),
            Attribute::new(ORG, org),
            Attribute::new(APP, app),
        ]
    })
}

/// Events of the app itself are asked about by their source, others on the app's resource (Dialogporten) by the resource. So is an
/// event whose source names another app than its resource: rights are per resource.
fn app_push(event: &Event) -> Vec<Attribute> {
    let mut attributes: Vec<_> =
        subject_of(event).into_iter().map(Attribute::asked_back_unless_urn).collect();
    let path = path_and_query(event.source()).unwrap_or_default();
    let mut parts = path.split('/');
    let [_, org, app, _, party, guid] = [(); 6].map(|()| parts.next().unwrap_or_default());
    if event.event_type().starts_with("app.") && is_of_app(event, org, app) {
        attributes.push(Attribute::new(INSTANCE_ID, format!("{party}/{guid}")).asked_back());
        attributes.push(Attribute::new(ORG, org));
        attributes.push(Attribute::new(APP, app));
    } else {
        let (org, app) = org_and_app(event.resource());
        attributes.extend(org.map(|org| Attribute::new(ORG, org)));
        attributes.extend(app.map(|app| Attribute::new(APP, app)));
    }
    attributes.push(Attribute::new(APP_RESOURCE, "events"));
    attributes
}

/// Whether the event's resource is this app's. A source is the publisher's own text; without this check it could borrow the
/// rights of another app.
fn is_of_app(event: &Event, org: &str, app: &str) -> bool {
    let name = without_prefix(event.resource(), APP_PREFIX);
    let rest = name.and_then(|name| without_prefix(name, org)).and_then(|rest| rest.strip_prefix('_'));
    rest.is_some_and(|name| name.eq_ignore_ascii_case(app))
}

fn is_app_resource(resource: &str) -> bool {
    without_prefix(resource, APP_PREFIX).is_some()
}

/// What follows a prefix, whatever the prefix's case.
fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Parts 1 and 2 of an app resource's name, split on `_` into at most three.
fn org_and_app(resource: &str) -> (Option<&str>, Option<&str>) {
    let name = resource.strip_prefix(RESOURCE).and_then(|rest| rest.strip_prefix(':'));
    let mut parts = name.unwrap_or_default().splitn(3, '_').skip(1).filter(|part| !part.is_empty());
    (parts.next(), parts.next())
}

/// Path and query of a source. Relative sources (seed form) are read as paths of some host. This runs for every event of every
/// page: plain sources, which are nearly all, are cut without parsing.
fn path_and_query(source: &str) -> Option<Cow<'_, str>> {
    if let Some(path) = plain_path(source) {
        return Some(Cow::Borrowed(path));
    }
    let url = Url::parse(source).ok().or_else(|| Url::parse("https://relative").ok()?.join(source).ok())?;
    let mut text = url.path().to_owned();
    if let Some(query) = url.query() {
        text.push('?');
        text.push_str(query);
    }
    Some(Cow::Owned(text))
}

/// The path and query of `https://host/path` when a parser would leave every byte of it as it is.
fn plain_path(source: &str) -> Option<&str> {
    let rest = source.strip_prefix("https://")?;
    let path = rest.get(rest.find('/')?..)?;
    let is_plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte));
    (is_plain && !rest.starts_with('/') && !path.contains("/.")).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_sources_are_cut_where_a_parser_cuts() {
        for source in [
            "https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/6fb3f738",
            "https://h:8080/a/b/c",
            "https://h/",
            "https://h/a//b/",
        ] {
            let parsed = Url::parse(source).unwrap();
            assert_eq!(plain_path(source), Some(parsed.path()), "{source}");
        }
        for other in [
            "https://h",
            "https:///a",
            "https://h/a/../b",
            "https://h/./a",
            "https://h/a?b",
            "https://h/æ",
            "/a/b",
        ] {
            assert_eq!(plain_path(other), None, "{other}");
        }
    }

    #[test]
    fn other_sources_are_parsed() {
        for (source, path) in [
            ("https://h/a/../b", "/b"),
            ("https://h/a/b?c/d#e", "/a/b?c/d"),
            ("https://h", "/"),
            ("/ttd/apps-test/instances/1/2", "/ttd/apps-test/instances/1/2"),
            ("ttd/apps-test/1/2", "/ttd/apps-test/1/2"),
        ] {
            assert_eq!(path_and_query(source).as_deref(), Some(path), "{source}");
        }
    }
}
