//! The PDP over HTTP: a chunk of questions in, an outcome for each out.
//!
//! No answer, an answer of another length, or one that belongs to other questions is *unknown* for all of the chunk. A chunk
//! that the PDP cannot read (400, 413, 422) is halved, so that one odd question does not silence its neighbours; alone it counts as
//! indeterminate, which is no.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use http::StatusCode;
use url::Url;

use crate::{
    attribute::{Attribute, PARTY_UUID, PERSON_NUMBER},
    decisions::Outcome,
    error::SetupError,
    metrics::AccessMetrics,
    neighbour::{Neighbour, describe},
    question::Question,
    register::Register,
    settings::AccessSettings,
    xacml::{self, Asked},
};

/// See the module.
pub(crate) struct Pdp {
    neighbour: Neighbour,
    url: Url,
    register: Arc<Register>,
    metrics: AccessMetrics,
}

impl Pdp {
    pub(crate) fn new(
        neighbour: Neighbour,
        settings: &AccessSettings,
        register: Arc<Register>,
        metrics: AccessMetrics,
    ) -> Result<Self, SetupError> {
        let url = settings.authorization_api.join("decision").map_err(SetupError::Address)?;
        Ok(Self { neighbour, url, register, metrics })
    }

    /// The outcomes, in the order of the questions.
    pub(crate) async fn ask(&self, questions: &[&Question]) -> Vec<Outcome> {
        let persons = self.persons_in(questions).await;
        let mut outcomes = vec![Outcome::Unknown; questions.len()];
        let mut sent = Vec::with_capacity(questions.len());
        for (question, outcome) in questions.iter().zip(&mut outcomes) {
            if let Some(resource) = with_party_uuids(&question.resource, &persons) {
                let asked =
                    Asked { subject: &question.subject.attributes, action: question.action, resource };
                sent.push((asked, question.is_multi, outcome));
            }
        }
        let mut waiting = vec![sent];
        while let Some(chunk) = waiting.pop() {
            let mut chunk = chunk;
            if self.ask_chunk(&mut chunk).await == Reading::Refused {
                let second = chunk.split_off(chunk.len() / 2);
                waiting.extend([second, chunk]);
            }
        }
        outcomes
    }

    /// One request. [`Reading::Refused`] asks the caller to halve.
    async fn ask_chunk(&self, chunk: &mut [(Asked<'_>, bool, &mut Outcome)]) -> Reading {
        if chunk.is_empty() {
            return Reading::Done;
        }
        let is_multi = chunk.iter().any(|(_, is_multi, _)| *is_multi);
        let (json, order) = {
            let questions: Vec<_> = chunk.iter().map(|(asked, _, _)| asked).collect();
            xacml::request(&questions, is_multi)
        };
        self.metrics.pdp_requests.inc();
        let answer = match self.neighbour.post(self.url.clone(), json).await {
            Ok(answer) => answer,
            Err(error) => {
                self.metrics.pdp_failures.inc();
                tracing::debug!(error = describe(&error), "the PDP gave no answer");
                return Reading::Done;
            }
        };
        if cannot_be_read(answer.status) {
            if chunk.len() > 1 {
                return Reading::Refused;
            }
            self.metrics.indeterminate.inc();
            chunk.iter_mut().for_each(|(_, _, outcome)| **outcome = Outcome::Refuse);
            return Reading::Done;
        }
        if !answer.status.is_success() || !self.settle(chunk, &order, &answer.body) {
            self.metrics.pdp_failures.inc();
            tracing::warn!(status = answer.status.as_u16(), "the PDP gave an answer that cannot be used");
        }
        Reading::Done
    }

    /// Writes the outcomes; false when the answer does not belong to the questions, and then nothing is written.
    fn settle(&self, chunk: &mut [(Asked<'_>, bool, &mut Outcome)], order: &[usize], body: &[u8]) -> bool {
        let Some(results) = xacml::answer(body) else { return false };
        let belongs = |(result, index): (&xacml::Answered, &usize)| {
            chunk.get(*index).is_some_and(|(asked, _, _)| result.belongs_to(asked))
        };
        if results.len() != order.len() || !results.iter().zip(order).all(belongs) {
            return false;
        }
        for (result, index) in results.iter().zip(order) {
            if result.is_indeterminate {
                self.metrics.indeterminate.inc();
            }
            if let Some((_, _, outcome)) = chunk.get_mut(*index) {
                **outcome = result.outcome;
            }
        }
        true
    }

    /// Party ids of the persons in these questions: the PDP refuses person numbers (contract §3.5). Without an answer the
    /// person is absent from the map.
    async fn persons_in(&self, questions: &[&Question]) -> HashMap<String, Option<String>> {
        let mut numbers: Vec<&str> = questions
            .iter()
            .flat_map(|question| &question.resource)
            .filter(|attribute| attribute.id == PERSON_NUMBER)
            .map(|attribute| attribute.value.as_str())
            .collect();
        if numbers.is_empty() {
            return HashMap::new();
        }
        numbers.sort_unstable();
        numbers.dedup();
        self.register.party_uuids_of_persons(&numbers).await.unwrap_or_default()
    }
}

#[derive(PartialEq, Eq)]
enum Reading {
    Done,
    Refused,
}

fn cannot_be_read(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// The attributes with each person number replaced by the person's party id, left out when Register does not know the
/// person; nothing when Register gave no answer about one of them.
fn with_party_uuids(
    attributes: &[Attribute],
    persons: &HashMap<String, Option<String>>,
) -> Option<Vec<Attribute>> {
    let mut replaced = Vec::with_capacity(attributes.len());
    for attribute in attributes {
        if attribute.id != PERSON_NUMBER {
            replaced.push(attribute.clone());
            continue;
        }
        if let Some(uuid) = persons.get(&attribute.value)? {
            let id = Cow::Borrowed(PARTY_UUID);
            replaced.push(Attribute { id, value: uuid.clone(), ..attribute.clone() });
        }
    }
    Some(replaced)
}
