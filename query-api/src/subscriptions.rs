//! `/events/api/v1/subscriptions` (contract §6). The owner of a subscription is its creator.

use std::{borrow::Cow, collections::HashMap};

use access::{AuthError, Authenticated, Caller, Decision, Question, question, scope::SUBSCRIBE};
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use event::{
    Micros, Subscription, SubscriptionId,
    address::{called, endpoint_key},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use service::json;
use store::{EndpointBacklog, Held, NewSubscription};
use url::Url;

use crate::{
    QueryApi,
    body::Whole,
    config::{PERSON_SUBSCRIPTIONS_MAX, SUBSCRIPTIONS_MAX},
    error::Refusal,
    router::{PathParts, SaysJson},
    rules::{Asker, Kind, NO_CONSUMER, NO_SUBJECT},
    wish::Wish,
};

/// Whether the deletion is in force on every dispatcher, and its position.
const IN_FORCE: HeaderName = HeaderName::from_static("in-force");
const POSITION: HeaderName = HeaderName::from_static("position");

/// A subscription as its owner reads it (contract §6.1).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    id: i64,
    end_point: Cow<'a, str>,
    /// What is really called, where that differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject_filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    type_filter: Option<&'a str>,
    include_subunits: bool,
    consumer: &'a str,
    created_by: &'a str,
    created: String,
    /// Also every dispatcher knows it: an event that is accepted from now on is matched.
    validated: bool,
    /// Whether every dispatcher knows the last change, whose position this is.
    in_force: bool,
    position: i64,
    /// Events that matched in the last hour may not be received.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<Refused<'a>>,
    /// Whether its endpoint, once it is proved, is slower than its events; then how many deliveries wait, and for how long, at the pace of late.
    overloaded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog_seconds: Option<u64>,
}

/// An endpoint may hold a secret, in its parameters or its path: who reads by delegation sees where it is, and no more.
fn endpoint_for<'a>(caller: &Caller, endpoint: &'a str) -> Cow<'a, str> {
    if caller.is_by_delegation() {
        Cow::Owned(Url::parse(endpoint).map(|url| url.origin().ascii_serialization()).unwrap_or_default())
    } else {
        Cow::Borrowed(endpoint)
    }
}

/// The newest event of the last hour that matched and may not be received.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Refused<'a> {
    latest: String,
    reason: &'a str,
    detail: &'static str,
}

const REFUSED_DETAIL: &str = "The policy of the resource does not permit this consumer to receive the event: an access list permits \
    subscribing, not events about a party.";

/// The newest refusals of subscriptions.
type Refusals = HashMap<SubscriptionId, store::Refusal>;

/// The backlogs of endpoints, by their keys.
type Backlogs = HashMap<String, EndpointBacklog>;

/// What stands beside the rows of subscriptions.
struct Beside {
    refusals: Refusals,
    backlogs: Backlogs,
    /// What every dispatcher holds.
    held: Held,
}

fn shown<'a>(subscription: &'a Subscription, caller: &Caller, beside: &'a Beside) -> Shown<'a> {
    let refused = beside.refusals.get(&subscription.id);
    // Anybody may name any address: how its owner's deliveries fare is told to who has proved it.
    let backlog =
        beside.backlogs.get(&endpoint_key(&subscription.endpoint)).filter(|_| subscription.validated);
    let held = beside.held;
    let validated_position = subscription.validated_position.unwrap_or(subscription.position);
    Shown {
        id: subscription.id.0,
        calls: Some(called(&subscription.endpoint))
            .filter(|called| *called != subscription.endpoint && !caller.is_by_delegation()),
        end_point: endpoint_for(caller, &subscription.endpoint),
        source_filter: subscription.source_filter.as_deref(),
        resource_filter: subscription.resource_filter.as_deref(),
        subject_filter: subscription.subject_sent.as_deref().or(subscription.subject_filter.as_deref()),
        type_filter: subscription.type_filter.as_deref(),
        include_subunits: subscription.include_subunits,
        consumer: &subscription.consumer,
        created_by: &subscription.created_by,
        created: subscription.created.to_rfc3339(),
        validated: subscription.validated && held.covers(validated_position),
        in_force: held.covers(subscription.position),
        position: subscription.position,
        refused: refused.map(|refusal| Refused {
            latest: refusal.at.to_rfc3339(),
            reason: &refusal.reason,
            detail: REFUSED_DETAIL,
        }),
        overloaded: backlog.is_some(),
        backlog: backlog.map(|backlog| backlog.deliveries),
        backlog_seconds: backlog.map(|backlog| backlog.takes.as_secs()),
    }
}

/// What is left to say of a subscription that is deleted.
fn deleted(answer: impl IntoResponse, position: i64, held: Held) -> Response {
    let mut response = answer.into_response();
    let in_force = HeaderValue::from_static(if held.covers(position) { "true" } else { "false" });
    response.headers_mut().insert(IN_FORCE, in_force);
    response.headers_mut().insert(POSITION, HeaderValue::from(position));
    response
}

/// POST: creates a subscription, or finds the same one, and (re)sends its validation. Answers when it is in force, or after a
/// second.
pub async fn create(
    _: SaysJson,
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    body: Result<Whole, Refusal>,
) -> Result<Response, Refusal> {
    let turn = api.turn(&caller).await?;
    let new = api.checked(&caller, &body?.0).await?;
    let most = most_of(&new.consumer);
    let made = api.inner.store.create_subscription_up_to(&new, most).await?;
    let (subscription, _) = made.ok_or(Refusal::TooMany(most))?;
    if !subscription.validated {
        // The row stays whatever becomes of the append; the sweep tries again.
        api.validate(&subscription, Micros::now()).await.ok();
    }
    // Who waits asks nothing more.
    drop(turn);
    let held = api.inner.in_force.wait(&api.inner.store, subscription.position).await;
    let beside = api.beside(std::slice::from_ref(&subscription), held).await?;
    let mut response = json::answer(StatusCode::CREATED, &shown(&subscription, &caller, &beside));
    let location = format!("/events/api/v1/subscriptions/{}", subscription.id);
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    Ok(response)
}

/// GET: all of the caller's subscriptions.
pub async fn list(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
) -> Result<Response, Refusal> {
    let _turn = api.turn(&caller).await?;
    let found = match caller.consumer() {
        Some(consumer) => api.inner.store.subscriptions_of(&consumer, SUBSCRIPTIONS_MAX).await?,
        None => Vec::new(),
    };
    // Read after them: what is held by then was held by all.
    let held = api.inner.store.held_everywhere().await?;
    let beside = api.beside(&found, held).await?;
    let list: Vec<Shown<'_>> = found.iter().map(|one| shown(one, &caller, &beside)).collect();
    Ok(json::answer(StatusCode::OK, &json!({"count": list.len(), "subscriptions": list})))
}

/// GET: one subscription of the caller's. When it is deleted, the headers say whether that is in force.
pub async fn show(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    PathParts(id): PathParts<String>,
) -> Result<Response, Refusal> {
    let _turn = api.turn(&caller).await?;
    let subscription = api.owned(&caller, &id).await?;
    let held = api.inner.store.held_everywhere().await?;
    Ok(if subscription.deleted {
        deleted(Refusal::Unknown("subscription"), subscription.position, held)
    } else {
        let beside = api.beside(std::slice::from_ref(&subscription), held).await?;
        json::answer(StatusCode::OK, &shown(&subscription, &caller, &beside))
    })
}

/// DELETE: answers when no dispatcher starts a send to it any more, or after a second; the headers tell which.
pub async fn delete(
    State(api): State<QueryApi>,
    Authenticated(caller): Authenticated,
    PathParts(id): PathParts<String>,
) -> Result<Response, Refusal> {
    let turn = api.turn(&caller).await?;
    not_by_delegation(&caller)?;
    let subscription = api.owned(&caller, &id).await?;
    let store = &api.inner.store;
    let done = store.delete_subscription(subscription.id).await?;
    drop(turn);
    match done {
        Some(position) => {
            let held = api.inner.in_force.wait(store, position).await;
            Ok(deleted(StatusCode::OK, position, held))
        }
        None if subscription.deleted => {
            let held = store.held_everywhere().await?;
            Ok(deleted(Refusal::Unknown("subscription"), subscription.position, held))
        }
        // Somebody was quicker.
        None => Err(Refusal::Unknown("subscription")),
    }
}

/// What would outlive a delegation is for its consumer alone.
fn not_by_delegation(caller: &Caller) -> Result<(), Refusal> {
    if !caller.is_by_delegation() {
        return Ok(());
    }
    let text = "A token that acts by delegation can neither create nor delete a subscription.";
    Err(Refusal::Text(StatusCode::FORBIDDEN, text.to_owned()))
}

impl QueryApi {
    async fn beside(&self, subscriptions: &[Subscription], held: Held) -> Result<Beside, Refusal> {
        let mut endpoints: Vec<String> =
            subscriptions.iter().map(|subscription| endpoint_key(&subscription.endpoint)).collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        let store = &self.inner.store;
        Ok(Beside {
            refusals: store.refusals_of(subscriptions).await?,
            backlogs: store.backlogs_of(&endpoints).await?,
            held,
        })
    }

    /// The subscription of that id, or its tombstone, when the caller created it.
    ///
    /// # Errors
    /// There is none, or it is somebody else's.
    pub(crate) async fn owned(&self, caller: &Caller, id: &str) -> Result<Subscription, Refusal> {
        let id: i64 = id.parse().map_err(|_| Refusal::wrong("id", "is not a number"))?;
        let found = self.inner.store.subscription(SubscriptionId(id)).await?;
        let subscription = found.ok_or(Refusal::Unknown("subscription"))?;
        if caller.consumer().as_deref() == Some(subscription.created_by.as_str()) {
            Ok(subscription)
        } else if subscription.deleted {
            Err(Refusal::Unknown("subscription"))
        } else {
            Err(Refusal::Text(StatusCode::FORBIDDEN, "Only its creator may see a subscription.".to_owned()))
        }
    }

    /// The checks of the contract (§6.2): all that is wrong with the request at once, then what must be asked for.
    async fn checked(&self, caller: &Caller, body: &[u8]) -> Result<NewSubscription, Refusal> {
        let (wish, wrong) = Wish::read(body)?;
        let kind = wish.kind(&self.inner.config.apps_domain);
        let mut texts = wish.wrong_addresses(self.inner.config.addresses);
        if wrong.is_empty() && texts.is_empty() {
            if kind == Kind::Generic && !caller.has_scope(SUBSCRIBE) {
                return Err(Refusal::Caller(AuthError::Forbidden));
            }
            not_by_delegation(caller)?;
        }
        let consumer = caller.consumer();
        let asker = Asker { is_org: caller.org.is_some(), has_consumer: consumer.is_some() };
        texts.extend(wish.wrong_filters(kind, asker));
        refused(wrong, texts)?;
        let subject = self.subject_wished(&wish).await?;
        let (Some(consumer), Some(resource)) = (consumer, wish.stored_resource()) else {
            return Err(Refusal::Texts(vec![NO_CONSUMER.to_owned()]));
        };
        let asked = question::subscribe(caller, &consumer, &resource, subject.as_deref());
        self.may_subscribe(asked, &resource).await?;
        let subject_sent = wish.subject_to_show();
        Ok(NewSubscription {
            endpoint: wish.endpoint.unwrap_or_default(),
            source_filter: wish.source,
            resource_filter: Some(resource),
            subject_sent,
            subject_filter: subject,
            type_filter: wish.kind,
            include_subunits: wish.subunits,
            created_by: consumer.clone(),
            consumer,
        })
    }

    /// The subject that is asked for, or the one that the alternative subject stands for. A Register that gives no answer is
    /// told as that: it says nothing about the number.
    async fn subject_wished(&self, wish: &Wish) -> Result<Option<String>, Refusal> {
        if let Some(subject) = &wish.subject {
            return match self.canonical_subject(subject).await {
                Err(Refusal::Unknown(_)) => Err(Refusal::Texts(vec![NO_SUBJECT.to_owned()])),
                found => found.map(Some),
            };
        }
        let Some(alternative) = &wish.alternative else { return Ok(None) };
        let found = match alternative.trim_start_matches('/').split_once('/') {
            Some(("org" | "organisation" | "organization", number)) => {
                self.inner.access.party_of_organisation(number).await
            }
            Some(("person", number)) => self.inner.access.party_of_person(number).await,
            Some(_) | None => Ok(None),
        };
        match found {
            Ok(Some(party)) => Ok(Some(format!("/party/{party}"))),
            Ok(None) => Err(Refusal::Texts(vec![NO_SUBJECT.to_owned()])),
            Err(_) => Err(Refusal::Neighbour("Register")),
        }
    }

    async fn may_subscribe(&self, asked: Question, resource: &str) -> Result<(), Refusal> {
        match self.inner.access.decide_one(asked).await {
            Decision::Permit => Ok(()),
            Decision::Refuse => {
                let text = format!("Not authorized to create a subscription for resource {resource}.");
                Err(Refusal::Text(StatusCode::FORBIDDEN, text))
            }
            Decision::Unknown => Err(Refusal::Neighbour("The PDP")),
        }
    }
}

/// What is wrong with the members is a problem; what is wrong with their values alone, the contract's bare text.
fn refused(mut wrong: Vec<(String, String)>, texts: Vec<String>) -> Result<(), Refusal> {
    if !wrong.is_empty() {
        wrong.extend(texts.into_iter().map(|text| ("RequestBody".to_owned(), text)));
        return Err(Refusal::Wrong(wrong));
    }
    if texts.is_empty() { Ok(()) } else { Err(Refusal::Texts(texts)) }
}

/// Most subscriptions of a consumer.
fn most_of(consumer: &str) -> i64 {
    if consumer.starts_with("/user/") { PERSON_SUBSCRIPTIONS_MAX } else { SUBSCRIPTIONS_MAX }
}
