//! When the PDP or Register has a fault: one indeterminate result for all, one odd number among good ones (contract §3.8).

use Decision::{Permit, Refuse, Unknown};
use access::{Access, Caller, Decision, Question, question};
use event::Event;
use local_altinn::{LocalAltinn, Mode, Rule};
use serde_json::json;
use service::prometheus::Registry;

use crate::{caller, eventually, generic_event, parse, platform};

const GOOD: &str = "ttd-altinn-events-automated-tests";
const BROKEN: &str = "broken";

/// An event of a resource.
fn event_of(resource: &str, party: i64) -> Event {
    parse(&json!({
        "specversion": "1.0", "id": "e", "type": "t", "subject": format!("/party/{party}"), "source": "/s",
        "resource": format!("urn:altinn:resource:{resource}"),
    }))
}

/// A platform whose policy of one resource is broken.
async fn with_a_broken_policy() -> (LocalAltinn, Access, Caller) {
    let (local, access) = platform().await;
    local.pdp().break_resource(BROKEN);
    let token = local.enterprise_token(Some("ttd"), "991825827", &["altinn:events.publish"]);
    let ttd = caller(&access, &token).await;
    (local, access, ttd)
}

fn push(resource: &str, party: i64) -> Question {
    question::push("/org/ttd", &event_of(resource, party))
}

/// The three kinds of question of a caller.
fn of_callers(ttd: &Caller, resource: &str, party: i64) -> [Question; 3] {
    let event = event_of(resource, party);
    [
        question::read_generic(ttd, &event),
        question::publish(ttd, &event),
        question::subscribe(ttd, "/org/ttd", event.resource(), Some(&format!("/party/{party}"))),
    ]
}

#[tokio::test]
async fn one_odd_question_takes_no_answer_from_its_neighbours() {
    let (local, access, ttd) = with_a_broken_policy().await;
    for culprit in [0, 1, 57, 99] {
        let resource = |n| if n == culprit { BROKEN } else { GOOD };
        let party = |n: i64| culprit * 1_000 + n;
        let before = local.pdp().requests();
        let pushes = (0..100).map(|n| push(resource(n), party(n)));
        let decisions = access.decide(pushes.collect()).await;
        for (n, decision) in (0..100).zip(decisions) {
            let expected = if n == culprit { Unknown } else { Permit };
            assert_eq!(decision, expected, "push {n} beside {culprit}");
        }
        let reads = (0..100).map(|n| question::read_generic(&ttd, &event_of(resource(n), party(n))));
        let decisions = access.decide(reads.collect()).await;
        for (n, decision) in (0..100).zip(decisions) {
            let expected = if n == culprit { Refuse } else { Permit };
            assert_eq!(decision, expected, "read {n} beside {culprit}");
        }
        let requests = local.pdp().requests() - before;
        assert!(requests <= 2 * 20 + 1, "{requests} requests");
    }
}

#[tokio::test]
async fn a_chunk_costs_at_most_twenty_requests_and_the_rest_is_unknown() {
    let (local, access, ttd) = with_a_broken_policy().await;
    let warm = access.decide_one(push(GOOD, 1)).await;
    assert_eq!((warm, local.pdp().requests()), (Permit, 1));
    let all_broken = |ttd: &Caller| -> Vec<Question> {
        (0..100).map(|n| question::read_generic(ttd, &event_of(BROKEN, n))).collect()
    };
    let decisions = access.decide(all_broken(&ttd)).await;
    let refused = decisions.iter().take_while(|decision| **decision == Refuse).count();
    assert!(refused >= 5, "the first of a page are decided, so that a reader gets on: {decisions:?}");
    assert!(decisions[refused..].iter().all(|decision| *decision == Unknown));
    assert_eq!(local.pdp().requests(), 1 + 20 + 1, "and one that shows that others are answered");
    // What was decided is remembered for a while: the next look goes on behind it.
    let decisions = access.decide(all_broken(&ttd)).await;
    let further = decisions.iter().take_while(|decision| **decision == Refuse).count();
    assert!(further > refused, "{further} after {refused}");
}

#[tokio::test]
async fn a_lone_indeterminate_is_no_answer_for_deliveries_and_a_counted_refusal_for_callers() {
    let (_local, access, ttd) = with_a_broken_policy().await;
    let registry = Registry::new();
    access.register_metrics(&registry).unwrap();
    assert_eq!(access.decide_one(push(GOOD, 1)).await, Permit);
    for party in 2..4 {
        for question in of_callers(&ttd, BROKEN, party) {
            assert_eq!(access.decide_one(question.clone()).await, Refuse, "{question:?}");
        }
        assert_eq!(access.decide_one(push(BROKEN, party)).await, Unknown);
    }
    let families = registry.gather();
    let refusals =
        families.iter().find(|family| family.name() == "access_indeterminate_refusals_total").unwrap();
    assert_eq!(refusals.get_metric()[0].get_counter().get_value(), 6.0);
}

#[tokio::test]
async fn indeterminate_to_everything_is_no_answer_also_right_after_answers() {
    let (local, access, ttd) = with_a_broken_policy().await;
    for question in of_callers(&ttd, BROKEN, 1) {
        assert_eq!(access.decide_one(question).await, Unknown, "nothing was ever answered");
    }
    assert_eq!(access.decide_one(push(GOOD, 1)).await, Permit);
    local.pdp().break_all(true);
    for party in 2..5 {
        for question in of_callers(&ttd, GOOD, party).into_iter().chain([push(GOOD, party)]) {
            assert_eq!(access.decide_one(question.clone()).await, Unknown, "{question:?}");
        }
    }
    let many = (10..40).map(|party| question::read_generic(&ttd, &event_of(GOOD, party)));
    let decisions = access.decide(many.collect()).await;
    assert!(decisions.iter().all(|decision| *decision == Unknown), "{decisions:?}");
    local.pdp().break_all(false);
    for question in of_callers(&ttd, GOOD, 2) {
        assert_eq!(
            access.decide_one(question.clone()).await,
            Permit,
            "nothing of it is remembered: {question:?}"
        );
    }
}

#[tokio::test]
async fn the_newest_question_that_was_answered_is_asked_again_once_for_all_who_wait() {
    let (local, access, ttd) = with_a_broken_policy().await;
    assert_eq!(access.decide_one(push(GOOD, 7)).await, Permit);
    let before = local.pdp().requests();
    let ask = |party| access.decide_one(question::read_generic(&ttd, &event_of(BROKEN, party)));
    assert_eq!(ask(1).await, Refuse);
    assert_eq!(local.pdp().requests() - before, 2, "the question, and the newest beside it");
    let newest = local.pdp().asked().pop().unwrap();
    assert!(newest.to_string().contains(GOOD), "{newest}");
    assert_eq!(ask(1).await, Refuse);
    assert_eq!(local.pdp().requests() - before, 2, "remembered as long as a refusal");
    local.pdp().break_all(true);
    let (before, party) = (local.pdp().requests(), 100..150);
    let answers = futures::future::join_all(party.map(ask)).await;
    assert!(answers.iter().all(|answer| *answer == Unknown));
    let requests = local.pdp().requests() - before;
    assert!(requests < 2 * 50, "{requests} requests for 50 who waited");
}

#[tokio::test]
async fn a_broken_policy_is_asked_about_again_when_it_is_mended() {
    let (local, access, ttd) = with_a_broken_policy().await;
    let resource = format!("urn:altinn:resource:{BROKEN}");
    local.pdp().permit(Rule::new(("urn:altinn:org", "ttd"), &["subscribe"], &resource));
    assert_eq!(access.decide_one(push(GOOD, 1)).await, Permit);
    let ask = || access.decide_one(question::read_generic(&ttd, &event_of(BROKEN, 1)));
    assert_eq!(ask().await, Refuse);
    local.pdp().mend_resource(BROKEN);
    eventually("the mended policy counts", || async { ask().await == Permit }).await;
}

#[tokio::test]
async fn a_request_that_the_pdp_cannot_read_is_halved_and_alone_is_indeterminate() {
    let (local, access) = platform().await;
    local.pdp().set(Mode::Fail(400));
    let questions = (1..=4).map(|party| push(GOOD, party));
    assert_eq!(access.decide(questions.collect()).await, [Unknown; 4]);
    assert_eq!(local.pdp().requests(), 7, "4, 2 + 2, 1 + 1 + 1 + 1");
}

#[tokio::test]
async fn a_wrong_number_of_a_person_takes_no_answer_from_others() {
    let (local, access) = platform().await;
    let about = |subject: &str| question::push("/org/ttd", &generic_event("e", subject));
    let person = |number: &str| about(&format!("urn:altinn:person:identifier-no:{number}"));
    let decisions = access.decide(vec![
        person("02857010053"),
        person("02857010054"),
        person("0285701005x"),
        about("/party/1"),
    ]);
    assert_eq!(decisions.await, [Permit; 4], "the owner sees events about nobody, too");
    assert_eq!((local.register().requests(), local.pdp().requests()), (1, 1));
}

#[tokio::test]
async fn what_register_does_not_take_is_halved_until_the_culprit_is_alone_and_unknown() {
    let (local, access) = platform().await;
    local.register().refuse("urn:altinn:organization:identifier-no:310075728");
    let about = |number: &str| {
        let subject = format!("urn:altinn:organization:identifier-no:{number}");
        question::push("/organisation/313810135", &generic_event("e", &subject))
    };
    let resource = format!("urn:altinn:resource:{GOOD}");
    let rule = Rule::new(("urn:altinn:organization:identifier-no", "313810135"), &["subscribe"], &resource);
    local.pdp().permit(rule.clone().for_party(50_000_002));
    for known in [50_000_003, 51_000_002, 51_000_004, 51_000_005] {
        local.pdp().permit(rule.clone().for_party(known));
    }
    let numbers = ["313500004", "311783777", "310075728", "313810135", "314411153"];
    let decisions = access.decide(numbers.map(about).into()).await;
    assert_eq!(decisions, [Permit, Permit, Refuse, Permit, Permit], "the culprit is about nobody");
    assert!(local.register().requests() <= 7, "{}", local.register().requests());
    let before = local.register().requests();
    access.decide(numbers.map(about).into()).await;
    assert_eq!(local.register().requests(), before, "all of it is remembered");
}
