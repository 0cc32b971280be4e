//! Register over HTTP: which party an organisation number or a person number belongs to, and the main unit of a sub-unit.
//!
//! Numbers travel in request bodies only; they are in no URL, log line or metric. Parties that are known are remembered for an
//! hour, unknown ones for a minute, organisations without a main unit for ten. No answer is an error, never "unknown".

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use http::StatusCode;
use moka::{Expiry, future::Cache};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use crate::{
    error::{SetupError, Unavailable},
    neighbour::{Answer, Neighbour, describe},
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
/// Persons of one query.
const QUERY_MAX: usize = 100;
const PERSON_URN: &str = "urn:altinn:person:identifier-no:";
const ORGANISATION_URN: &str = "urn:altinn:organization:identifier-no:";

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
        if !is_digits(number, 11) {
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
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let party: Party = self.read(&answer)?;
        Ok(Some(party.party_id).filter(|id| *id > 0))
    }

    /// The party id of the main unit of an organisation. Who asks the same meanwhile waits for the one request.
    pub(crate) async fn main_unit_of(&self, number: &str) -> Result<Option<i64>, Unavailable> {
        if !is_digits(number, 9) {
            return Ok(None);
        }
        if let Some(main) = self.main_units.get(number).await {
            return Ok(main);
        }
        let asked = self.main_units.try_get_with(number.to_owned(), self.look_up_main_unit(number));
        asked.await.map_err(|error| *error)
    }

    async fn look_up_main_unit(&self, number: &str) -> Result<Option<i64>, Unavailable> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Unit {
            party_id: Option<i64>,
        }
        #[derive(Deserialize)]
        struct Units {
            data: Vec<Unit>,
        }
        let urn = format!("{ORGANISATION_URN}{number}");
        let answer = self.post(&self.main_units_of, &json!({ "data": urn })).await?;
        // These are about the number: whoever waits for an answer would wait for ever.
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST) {
            return Ok(None);
        }
        let units: Units = self.read(&answer)?;
        Ok(units.data.into_iter().find_map(|unit| unit.party_id.filter(|id| *id > 0)))
    }

    /// The party id (a UUID) of each person; nothing for a person that Register does not know.
    pub(crate) async fn party_uuids_of_persons(
        &self,
        numbers: &[&str],
    ) -> Result<HashMap<String, Option<String>>, Unavailable> {
        let mut found = HashMap::with_capacity(numbers.len());
        let mut missing = Vec::new();
        for number in numbers {
            match self.uuids.get(*number).await {
                Some(uuid) => drop(found.insert((*number).to_owned(), uuid)),
                None => missing.push(*number),
            }
        }
        for chunk in missing.chunks(QUERY_MAX) {
            let mut uuids = self.query(chunk).await?;
            for number in chunk {
                let uuid = uuids.remove(*number);
                self.uuids.insert((*number).to_owned(), uuid.clone()).await;
                found.insert((*number).to_owned(), uuid);
            }
        }
        Ok(found)
    }

    async fn query(&self, numbers: &[&str]) -> Result<HashMap<String, String>, Unavailable> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Party {
            party_uuid: String,
            person_identifier: Option<String>,
        }
        #[derive(Deserialize)]
        struct Parties {
            data: Vec<Party>,
        }
        let urns: Vec<_> = numbers.iter().map(|number| format!("{PERSON_URN}{number}")).collect();
        let answer = self.post(&self.query, &json!({ "Data": urns })).await?;
        let parties: Parties = self.read(&answer)?;
        let of_persons = parties.data.into_iter();
        Ok(of_persons.filter_map(|party| Some((party.person_identifier?, party.party_uuid))).collect())
    }

    async fn post(&self, url: &Url, body: &serde_json::Value) -> Result<Answer, Unavailable> {
        self.neighbour.post(url.clone(), body.to_string().into_bytes()).await.map_err(|error| {
            tracing::debug!(error = describe(&error), "Register gave no answer");
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

fn is_digits(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit())
}
