//! The PDP over HTTP: a chunk of questions in, an outcome for each out.
//!
//! Results belong to questions by their order. No answer, or one of another length, is *unknown* for all of the chunk. The real PDP
//! answers with one indeterminate result for all when any part of a request fails (contract §3.8): one result for several questions
//! halves the chunk, as does a request that it cannot read (400, 413, 422), so that one odd question silences no neighbour. What is
//! undecided after [`crate::halving::REQUESTS_MAX`] requests is unknown. A question that is indeterminate alone is weighed: was another
//! one answered since ([`crate::evidence`])?

use std::{
    borrow::Cow,
    sync::{Arc, MutexGuard, PoisonError},
    time::Instant,
};

use http::StatusCode;
use service::telemetry::chain;
use url::Url;

use crate::{
    attribute::{Attribute, ORGANISATION_NUMBER, PARTY_UUID, PERSON_NUMBER},
    error::SetupError,
    evidence::{self, Evidence},
    halving::Halving,
    metrics::AccessMetrics,
    neighbour::Neighbour,
    outcome::Outcome,
    question::{Question, nobody},
    register::{Parties, Register},
    settings::AccessSettings,
    xacml::{self, Asked},
};

/// See the module.
pub(crate) struct Pdp {
    neighbour: Neighbour,
    url: Url,
    register: Arc<Register>,
    metrics: AccessMetrics,
    evidence: evidence::Shared,
    /// When the newest question was asked again in vain; held while it is.
    tried_in_vain: tokio::sync::Mutex<Option<Instant>>,
}

/// A question on its way, and where its outcome goes.
struct Sent<'a> {
    question: &'a Question,
    asked: Asked<'a>,
    outcome: &'a mut Outcome,
}

impl Pdp {
    pub(crate) fn new(
        neighbour: Neighbour,
        settings: &AccessSettings,
        register: Arc<Register>,
        metrics: AccessMetrics,
        evidence: evidence::Shared,
    ) -> Result<Self, SetupError> {
        let url = settings.authorization_api.join("decision").map_err(SetupError::Address)?;
        let tried_in_vain = tokio::sync::Mutex::default();
        Ok(Self { neighbour, url, register, metrics, evidence, tried_in_vain })
    }

    /// The outcomes, in the order of the questions.
    pub(crate) async fn ask(&self, questions: &[&Question]) -> Vec<Outcome> {
        let Put { mut outcomes, lonely } = self.put(questions).await;
        let Some(then) = lonely else { return outcomes };
        let mut pairs = questions.iter().zip(&outcomes);
        let waits =
            pairs.any(|(question, outcome)| outcome.is_indeterminate() && question.purpose.is_for_a_caller());
        let beside_answers = self.answers_others(then, waits).await;
        for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_indeterminate()) {
            *outcome = Outcome::Indeterminate { beside_answers };
        }
        outcomes
    }

    /// Whether another question was answered since. Where somebody waits to know, the newest one that ever was is asked again; one at a
    /// time does so, and whoever waited meanwhile takes what came of it.
    async fn answers_others(&self, then: Instant, waits: bool) -> bool {
        if !waits || self.evidence().is_since(then) {
            return self.evidence().is_since(then);
        }
        let mut tried_in_vain = self.tried_in_vain.lock().await;
        let is_tried = tried_in_vain.is_some_and(|put| put >= then);
        let newest = {
            let evidence = self.evidence();
            if is_tried || evidence.is_since(then) {
                return evidence.is_since(then);
            }
            evidence.newest()
        };
        let Some(newest) = newest else { return false };
        let put = Instant::now();
        let is_answered = self.put(&[&newest]).await.outcomes.iter().all(|outcome| outcome.is_answer());
        if !is_answered {
            *tried_in_vain = Some(put);
        }
        is_answered
    }

    async fn put(&self, questions: &[&Question]) -> Put {
        let parties = self.parties_in(questions).await;
        let mut put = Put { outcomes: vec![Outcome::Unknown; questions.len()], lonely: None };
        let mut sent = Vec::with_capacity(questions.len());
        for (question, outcome) in questions.iter().zip(&mut put.outcomes) {
            if let Some(resource) = resolved(&question.resource, &parties) {
                let asked =
                    Asked { subject: &question.subject.attributes, action: question.action, resource };
                sent.push(Sent { question, asked, outcome });
            }
        }
        let mut halving = Halving::new(sent);
        while let Some(mut chunk) = halving.next() {
            match self.ask_chunk(&mut chunk).await {
                Reading::Refused => halving.halve(chunk),
                Reading::Lonely(now) => put.lonely = Some(now),
                Reading::Done => {}
            }
        }
        put
    }

    /// One request. [`Reading::Refused`] asks the caller to halve; of one question it is never said.
    async fn ask_chunk(&self, chunk: &mut [Sent<'_>]) -> Reading {
        let is_multi = chunk.iter().any(|sent| sent.question.is_multi);
        let (json, order) = {
            let questions: Vec<_> = chunk.iter().map(|sent| &sent.asked).collect();
            xacml::request(&questions, is_multi)
        };
        self.metrics.pdp_requests.inc();
        let answer = match self.neighbour.post(self.url.clone(), json).await {
            Ok(answer) => answer,
            Err(error) => {
                self.metrics.pdp_failures.inc();
                tracing::debug!(error = chain(&error), "the PDP gave no answer");
                return Reading::Done;
            }
        };
        let results = if cannot_be_read(answer.status) {
            Some(vec![INDETERMINATE])
        } else {
            xacml::answer(&answer.body).filter(|_| answer.status.is_success())
        };
        match results {
            Some(results) if results.len() == order.len() => self.settle(chunk, &order, &results),
            Some(results) if results.len() == 1 => Reading::Refused,
            Some(_) | None => {
                self.metrics.pdp_failures.inc();
                tracing::warn!(status = answer.status.as_u16(), "the PDP gave an answer that cannot be used");
                Reading::Done
            }
        }
    }

    /// Writes the outcomes, which stand in the order of the references.
    fn settle(&self, chunk: &mut [Sent<'_>], order: &[usize], results: &[Outcome]) -> Reading {
        let now = Instant::now();
        let mut reading = Reading::Done;
        for (result, index) in results.iter().zip(order) {
            let Some(sent) = chunk.get_mut(*index) else { continue };
            *sent.outcome = *result;
            if result.is_answer() {
                self.evidence().answer(sent.question, now);
            } else {
                self.metrics.indeterminate.inc();
                reading = Reading::Lonely(now);
            }
        }
        reading
    }

    /// The parties whose numbers and UUIDs stand in these questions, as far as Register tells.
    async fn parties_in(&self, questions: &[&Question]) -> Parties {
        let attributes = questions.iter().flat_map(|question| &question.resource);
        let mut urns: Vec<String> = attributes.filter_map(urn_of_party).collect();
        urns.sort_unstable();
        urns.dedup();
        self.register.parties_by_urn(urns).await
    }

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.evidence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What came of questions.
struct Put {
    outcomes: Vec<Outcome>,
    /// When one was indeterminate last, though alone.
    lonely: Option<Instant>,
}

const INDETERMINATE: Outcome = Outcome::Indeterminate { beside_answers: false };

enum Reading {
    Done,
    /// One of the questions was indeterminate by itself.
    Lonely(Instant),
    /// Together they could not be answered.
    Refused,
}

fn cannot_be_read(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY
    )
}

/// The URN of a party that Register must tell about before the PDP is asked: the PDP throws on numbers of persons and on unknown numbers
/// of organisations, and takes an unknown UUID for no party at all (contract §3.5, §3.8).
fn urn_of_party(attribute: &Attribute) -> Option<String> {
    [PERSON_NUMBER, ORGANISATION_NUMBER, PARTY_UUID]
        .contains(&&*attribute.id)
        .then(|| format!("{}:{}", attribute.id, attribute.value.to_ascii_lowercase()))
}

/// The attributes as the PDP may see them: a person by UUID, and whom Register does not know as the party that nobody has; nothing when
/// Register gave no answer about one of them.
fn resolved(attributes: &[Attribute], parties: &Parties) -> Option<Vec<Attribute>> {
    let of_party = |attribute: &Attribute| {
        let Some(urn) = urn_of_party(attribute) else { return Some(attribute.clone()) };
        Some(match parties.get(&urn)? {
            None => nobody(),
            Some(uuid) if attribute.id == PERSON_NUMBER => {
                Attribute { id: Cow::Borrowed(PARTY_UUID), value: uuid.clone(), ..attribute.clone() }
            }
            Some(_) => attribute.clone(),
        })
    };
    attributes.iter().map(of_party).collect()
}
