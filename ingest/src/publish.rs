//! The handlers: extract, validate, authorize, append, answer.

use access::{AppPublisher, Caller, Publisher};
use axum::{
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use event::{Draft, Event, Micros, Violations, subject};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use service::json;

use crate::{
    Ingest, append, batch, binary, body,
    error::{AppRefusal, Refusal},
    limits::{self, Seat},
    mode::{AppJson, Mode, SeedMode},
    normalise::{self, Server},
    parties, rights,
};

/// `POST /events/api/v1/events`: generic events, in the publisher's own text (contract §1.5).
pub(crate) async fn generic(
    State(ingest): State<Ingest>,
    mode: Mode,
    Publisher(caller): Publisher,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let seat = ingest.seat(&caller, mode, request.headers())?;
    let events = ingest.read(mode, request, Event::parse, Draft::validate).await?;
    rights::check(&ingest.inner.access, &caller, &events, |_| false).await?;
    ingest.append(&events).await?;
    drop(seat);
    Ok(StatusCode::OK)
}

/// `POST /events`: events as an app or a system writes them at its simplest; what is missing is set. Answers the ids.
pub(crate) async fn seed(
    State(ingest): State<Ingest>,
    SeedMode(mode): SeedMode,
    Publisher(caller): Publisher,
    request: Request,
) -> Result<Response, Refusal> {
    let seat = ingest.seat(&caller, mode, request.headers())?;
    let server = ingest.server();
    let complete = |draft: Draft| normalise::seed(draft, &server);
    let events = ingest.read(mode, request, |json| complete(Draft::parse(json)?), complete).await?;
    let is_own = |event: &Event| rights::is_own_event(&caller, event, server.apps_domain);
    rights::check(&ingest.inner.access, &caller, &events, is_own).await?;
    ingest.append(&events).await?;
    drop(seat);
    Ok(match events.as_slice() {
        [event] if mode != Mode::Batch => created(event),
        events => ids(events),
    })
}

/// `POST /events/api/v1/app`: an event of the calling app (contract §1.3). Needs no decision: the app is who it says it is.
pub(crate) async fn app(
    State(ingest): State<Ingest>,
    _: AppJson,
    AppPublisher { caller, app }: AppPublisher,
    request: Request,
) -> Result<Response, AppRefusal> {
    let seat = ingest.seat(&caller, Mode::Structured, request.headers())?;
    let server = ingest.server();
    let read = |json: &[u8]| normalise::app(&Draft::parse(json)?, &server);
    let events = ingest.read(Mode::Structured, request, read, Draft::validate).await?;
    if !events.iter().all(|event| rights::is_source_of(&caller, event.source(), server.apps_domain)) {
        return Err(Refusal::NotYourSource(format!("{}/{}", app.issuer, app.app)).into());
    }
    ingest.append(&events).await?;
    drop(seat);
    Ok(events.first().map_or_else(|| StatusCode::CREATED.into_response(), created))
}

impl Ingest {
    fn server(&self) -> Server<'_> {
        Server {
            apps_domain: &self.inner.config.apps_domain,
            now: Micros::now(),
            new_id: || uuid::Uuid::new_v4().to_string(),
        }
    }

    /// A place for a request whose body is not read yet. The app is the publisher, whoever uses it.
    fn seat(&self, caller: &Caller, mode: Mode, headers: &HeaderMap) -> Result<Seat, Refusal> {
        let name = match &caller.platform {
            Some(app) => format!("{}/{}", app.issuer, app.app),
            None => caller.consumer().unwrap_or_default(),
        };
        self.inner.limits.seat(name, limits::weight(headers, mode.body_max()))
    }

    /// Reads the body and makes events of it: `parse` from JSON, `complete` from the headers and body of binary mode.
    async fn read(
        &self,
        mode: Mode,
        request: Request,
        parse: impl Fn(&[u8]) -> Result<Event, Violations>,
        complete: impl Fn(Draft) -> Result<Event, Violations>,
    ) -> Result<Vec<Event>, Refusal> {
        let (parts, body) = request.into_parts();
        let bytes = body::read(&parts.headers, body, mode.body_max(), self.inner.config.body_timeout).await?;
        let one = match mode {
            Mode::Batch => return batch::events(&bytes, parse),
            Mode::Structured => parse(&bytes),
            Mode::Binary => binary::draft(&parts.headers, &bytes).and_then(complete),
        };
        one.map(|event| vec![event]).map_err(Refusal::invalid)
    }

    /// Puts the events on the log.
    async fn append(&self, events: &[Event]) -> Result<(), Refusal> {
        let inner = &self.inner;
        let places = parties::places(&inner.access, events).await?;
        let timer = inner.metrics.append_seconds.start_timer();
        append::append(&inner.producer, events, &places, inner.config.ack_timeout).await?;
        timer.observe_duration();
        inner.metrics.events.inc_by(events.len() as u64);
        Ok(())
    }
}

/// 201 with the quoted id, and the subject as `Location` (contract §1.3) unless that would put a person's number into a URL.
fn created(event: &Event) -> Response {
    let mut response = json::answer(StatusCode::CREATED, event.id());
    let subject = event.subject().filter(|subject| !subject::is_person_number(subject));
    if let Some(Ok(location)) = subject.map(|subject| HeaderValue::from_bytes(subject.as_bytes())) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// 201 with the ids in the order of the batch.
fn ids(events: &[Event]) -> Response {
    let ids: Vec<&str> = events.iter().map(Event::id).collect();
    json::answer(StatusCode::CREATED, &ids)
}
