//! Register over HTTP: which party an organisation number or a person number belongs to, and the main unit of a sub-unit.
//!
//! A number that Register does not take (400) is one that nobody has, and so is a person's number whose check figures are wrong, which
//! is never asked about. Among others it is found by halving: it takes no answer from them.
//!
//! Numbers travel in request bodies only; they are in no URL, log line or metric. Parties that are known are remembered for an
//! hour, unknown ones for a minute, organisations without a main unit for ten. No answer is an error, never "unknown".

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use event::subject::{self, PartyNumber};
use http::StatusCode;
use moka::{Expiry, future::Cache};
use serde::Deserialize;
use serde_json::json;
use service::telemetry::chain;
use url::Url;

use crate::{
    error::{SetupError, Unavailable},
    halving::Halving,
    neighbour::{Answer, Neighbour},
    settings::AccessSettings,
};

/// How long a party that exists is remembered.
const KNOWN: Duration = Duration::from_secs(3_600);
/// How long it is remembered that there is none.
const UNKNOWN: Duration = Duration::from_secs(60);
/// How long it is remembered that an organisation has no main unit, as most have none.
const NO_MAIN_UNIT: Duration = Duration::from_secs(600);
/// Parties that are remembered, in each direction.
const REMEMBERED_MAX: u64 = 100_000;
/// Parties of one query.
const QUERY_MAX: usize = 100;
const PERSON_URN: &str = "urn:altinn:person:identifier-no:";
const ORGANISATION_URN: &str = "urn:altinn:organization:identifier-no:";
const PARTY_ID_URN: &str = "urn:altinn:party:id:";

const UUID_URN: &str = "urn:altinn:party:uuid:";

/// The UUIDs of parties by the URNs that name them; none for a party that Register does not know.
pub(crate) type Parties = HashMap<String, Option<String>>;

/// What a number stands for.
#[derive(Clone, Copy)]
enum Kind {
    Organisation,
    Person,
}

/// See the module.
pub(crate) struct Register {
    neighbour: Neighbour,
    lookup: Url,
    query: Url,
    main_units_of: Url,
    parties: Cache<String, Option<i64>>,
    uuids: Cache<String, Option<String>>,
    main_units: Cache<String, Option<i64>>,
}

struct Lifetimes {
    /// Of the knowledge that there is nothing.
    none: Duration,
}

impl<V> Expiry<String, Option<V>> for Lifetimes {
    fn expire_after_create(&self, _: &String, found: &Option<V>, _: Instant) -> Option<Duration> {
        Some(if found.is_some() { KNOWN } else { self.none })
    }
}

fn memory<V: Clone + Send + Sync + 'static>(none: Duration) -> Cache<String, Option<V>> {
    Cache::builder().max_capacity(REMEMBERED_MAX).expire_after(Lifetimes { none }).build()
}

impl Register {
    pub(crate) fn new(neighbour: Neighbour, settings: &AccessSettings) -> Result<Self, SetupError> {
        let join = |path: &str| settings.register_api.join(path).map_err(SetupError::Address);
        Ok(Self {
            neighbour,
            lookup: join("v1/parties/lookup")?,
            query: join("v2/internal/parties/query?fields=identifiers")?,
            main_units_of: join("v2/internal/parties/main-units")?,
            parties: memory(UNKNOWN),
            uuids: memory(UNKNOWN),
            main_units: memory(NO_MAIN_UNIT),
        })
    }

    /// The same for others, with what is remembered: see [`Neighbour::apart`].
    pub(crate) fn apart(&self) -> Self {
        Self {
            neighbour: self.neighbour.apart(),
            lookup: self.lookup.clone(),
            query: self.query.clone(),
            main_units_of: self.main_units_of.clone(),
            parties: self.parties.clone(),
            uuids: self.uuids.clone(),
            main_units: self.main_units.clone(),
        }
    }

    pub(crate) async fn party_of_organisation(&self, number: &str) -> Result<Option<i64>, Unavailable> {
        if !is_digits(number, 9) {
            return Ok(None);
        }
        self.party_of(number, Kind::Organisation).await
    }

    pub(crate) async fn party_of_person(&self, number: &str) -> Result<Option<i64>, Unavailable> {
        if !subject::has_check_figures(number) {
            return Ok(None);
        }
        self.party_of(number, Kind::Person).await
    }

    /// Lengths differ, so one cache serves both kinds. Who asks the same meanwhile waits for the one request.
    async fn party_of(&self, number: &str, kind: Kind) -> Result<Option<i64>, Unavailable> {
        if let Some(party) = self.parties.get(number).await {
            return Ok(party);
        }
        let asked = self.parties.try_get_with(number.to_owned(), self.look_up(number, kind));
        asked.await.map_err(|error| *error)
    }

    async fn look_up(&self, number: &str, kind: Kind) -> Result<Option<i64>, Unavailable> {
        #[derive(Deserialize)]
        struct Party {
            #[serde(alias = "PartyId", alias = "partyid")]
            #[serde(rename = "partyId")]
            party_id: i64,
        }
        let body = match kind {
            Kind::Organisation => json!({ "OrgNo": number }),
            Kind::Person => json!({ "Ssn": number }),
        };
        let answer = self.post(&self.lookup, &body).await?;
        // These are about the number: whoever waits for an answer would wait for ever.
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST) {
            return Ok(None);
        }
        let party: Party = self.read(&answer)?;
        Ok(Some(party.party_id).filter(|id| *id > 0))
    }

    /// The party id of the main unit of whom a subject names: a party by its id, or an organisation by its number. Who asks the same
    /// meanwhile waits for the one request.
    pub(crate) async fn main_unit_of(&self, subject: &str) -> Result<Option<i64>, Unavailable> {
        let Some(urn) = urn_of_unit(subject) else { return Ok(None) };
        if let Some(main) = self.main_units.get(&urn).await {
            return Ok(main);
        }
        let asked = self.main_units.try_get_with(urn.clone(), self.look_up_main_unit(&urn));
        asked.await.map_err(|error| *error)
    }

    async fn look_up_main_unit(&self, urn: &str) -> Result<Option<i64>, Unavailable> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Unit {
            party_id: Option<i64>,
        }
        #[derive(Deserialize)]
        struct Units {
            data: Vec<Unit>,
        }
        let answer = self.post(&self.main_units_of, &json!({ "data": urn })).await?;
        // As above.
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST) {
            return Ok(None);
        }
        let units: Units = self.read(&answer)?;
        Ok(units.data.into_iter().find_map(|unit| unit.party_id.filter(|id| *id > 0)))
    }

    /// The parties that these URNs name: by the number of a person or an organisation, or by UUID. One about which Register gave no
    /// answer is absent.
    pub(crate) async fn parties_by_urn(&self, urns: Vec<String>) -> Parties {
        let mut found = HashMap::with_capacity(urns.len());
        let mut missing = Vec::new();
        for urn in urns {
            if is_no_persons_number(&urn) {
                found.insert(urn, None);
            } else if let Some(uuid) = self.uuids.get(&urn).await {
                found.insert(urn, uuid);
            } else {
                missing.push(urn);
            }
        }
        while !missing.is_empty() {
            let rest = missing.split_off(missing.len().min(QUERY_MAX));
            let chunk = std::mem::replace(&mut missing, rest);
            for (urn, uuid) in self.query_halving(chunk).await {
                self.uuids.insert(urn.clone(), uuid.clone()).await;
                found.insert(urn, uuid);
            }
        }
        found
    }

    /// What Register does not take together is halved; alone it is unknown.
    async fn query_halving(&self, urns: Vec<String>) -> Parties {
        let mut found = HashMap::with_capacity(urns.len());
        let mut halving = Halving::new(urns);
        while let Some(urns) = halving.next() {
            let Ok(answer) = self.post(&self.query, &json!({ "Data": urns })).await else { continue };
            if answer.status == StatusCode::BAD_REQUEST {
                if urns.len() > 1 {
                    halving.halve(urns);
                } else {
                    found.extend(urns.into_iter().map(|urn| (urn, None)));
                }
            } else if let Ok(mut known) = self.known_in(&answer) {
                found.extend(urns.into_iter().map(|urn| {
                    let uuid = known.remove(&urn);
                    (urn, uuid)
                }));
            }
        }
        found
    }

    /// The UUIDs of the parties of an answer, by each URN that names them.
    fn known_in(&self, answer: &Answer) -> Result<HashMap<String, String>, Unavailable> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Party {
            party_uuid: String,
            person_identifier: Option<String>,
            organization_identifier: Option<String>,
        }
        #[derive(Deserialize)]
        struct Answered {
            data: Vec<Party>,
        }
        let parties: Answered = self.read(answer)?;
        let mut known = HashMap::new();
        for Party { party_uuid, person_identifier, organization_identifier } in parties.data {
            let person = person_identifier.map(|number| format!("{PERSON_URN}{number}"));
            let organisation = organization_identifier.map(|number| format!("{ORGANISATION_URN}{number}"));
            for urn in [person, organisation, Some(format!("{UUID_URN}{}", party_uuid.to_ascii_lowercase()))]
                .into_iter()
                .flatten()
            {
                known.insert(urn, party_uuid.clone());
            }
        }
        Ok(known)
    }

    async fn post(&self, url: &Url, body: &serde_json::Value) -> Result<Answer, Unavailable> {
        self.neighbour.post(url.clone(), body.to_string().into_bytes()).await.map_err(|error| {
            tracing::debug!(error = chain(&error), "Register gave no answer");
            Unavailable(self.neighbour.name)
        })
    }

    /// The body is never logged: it holds numbers.
    fn read<T: for<'de> Deserialize<'de>>(&self, answer: &Answer) -> Result<T, Unavailable> {
        let parsed = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status.is_success());
        parsed.ok_or_else(|| {
            tracing::warn!(status = answer.status.as_u16(), "Register gave an answer that cannot be used");
            Unavailable(self.neighbour.name)
        })
    }
}

/// Whether the URN names a person by what is no person's number: Register would refuse the whole query.
fn is_no_persons_number(urn: &str) -> bool {
    urn.strip_prefix(PERSON_URN).is_some_and(|number| !subject::has_check_figures(number))
}

/// How Register names whom a subject is about.
fn urn_of_unit(subject: &str) -> Option<String> {
    if let Some(party) = subject::party_id(subject) {
        return Some(format!("{PARTY_ID_URN}{party}"));
    }
    match subject::party_number(subject)? {
        PartyNumber::Organisation(number) => Some(format!("{ORGANISATION_URN}{number}")),
        PartyNumber::Person(_) => None,
    }
}

fn is_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
}
