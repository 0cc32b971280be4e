//! Decisions: what is remembered for whom, and what happens when nobody answers.

use std::time::Duration;

use Decision::{Permit, Refuse, Unknown};
use access::{Access, AccessSettings, Caller, Decision, Question, question};
use local_altinn::{LocalAltinn, Mode, Rule, TokenRequest};
use serde_json::json;

use crate::{app_event, caller, eventually, generic_event, local, parse, platform, settings};

const APP: &str = "urn:altinn:resource:app_ttd_apps-test";
const GENERIC: &str = "urn:altinn:resource:ttd-altinn-events-automated-tests";

async fn person(local: &LocalAltinn, access: &Access) -> Caller {
    caller(access, &local.personal_token(1337, 50_001_337, &[])).await
}

fn tuned(local: &LocalAltinn, tune: impl FnOnce(&mut AccessSettings)) -> Access {
    let mut settings = settings(local);
    tune(&mut settings);
    Access::new(&settings).unwrap()
}

#[tokio::test]
async fn a_permit_for_one_party_never_serves_another() {
    let (local, access) = platform().await;
    let person = person(&local, &access).await;
    let ask = |id: &str, party| question::read_app(&person, &app_event(id, party));
    for round in ["a", "b"] {
        let answers = access.decide(vec![ask(round, 50_001_337), ask(round, 50_001_338)]).await;
        assert_eq!(answers, [Permit, Refuse]);
    }
    let push = |party| question::push("/user/1337", &app_event("c", party));
    assert_eq!(access.decide(vec![push(50_001_337), push(50_001_338)]).await, [Permit, Refuse]);
}

#[tokio::test]
async fn a_permit_for_one_instance_never_serves_another() {
    let (local, access) = platform().await;
    let person = person(&local, &access).await;
    let of_instance = |guid: &str| {
        let instance = format!("50001337/{guid}");
        parse(&json!({
            "specversion": "1.0", "id": guid, "type": "app.instance.created", "subject": "/party/50001337",
            "source": format!("https://ttd.apps.altinn.no/ttd/apps-test/instances/{instance}"),
            "resource": "urn:altinn:resource:app_ttd_apps-test", "resourceinstance": instance,
        }))
    };
    for (asked, guid) in [(1, "one"), (2, "two"), (2, "one"), (2, "two")] {
        assert_eq!(access.decide_one(question::read_app(&person, &of_instance(guid))).await, Permit);
        assert_eq!(local.pdp().questions(), asked, "{guid}");
    }
    for (asked, guid) in [(3, "one"), (4, "two"), (4, "one")] {
        access.decide_one(question::push("/user/1337", &of_instance(guid))).await;
        assert_eq!(local.pdp().questions(), asked, "push of {guid}");
    }
}

#[tokio::test]
async fn an_answer_is_remembered_for_other_events_and_other_sessions_of_the_same_question() {
    let (local, access) = platform().await;
    for n in 0..20 {
        let person = person(&local, &access).await;
        let question = question::read_app(&person, &app_event(&format!("e{n}"), 50_001_337));
        assert_eq!(access.decide_one(question).await, Permit);
    }
    assert_eq!((local.pdp().requests(), local.pdp().questions()), (1, 1));
}

#[tokio::test]
async fn a_page_costs_one_question_for_each_key_in_requests_of_at_most_a_hundred() {
    let (local, access) = platform().await;
    let org = caller(&access, &local.enterprise_token(Some("ttd"), "991825827", &[])).await;
    let page = |round: &str| -> Vec<Question> {
        (0..1_000)
            .map(|n| question::read_app(&org, &app_event(&format!("{round}{n}"), n % 250 + 1)))
            .collect()
    };
    assert!(access.decide(page("a")).await.iter().all(|answer| *answer == Permit));
    assert_eq!((local.pdp().requests(), local.pdp().questions()), (3, 250));
    assert!(access.decide(page("b")).await.iter().all(|answer| *answer == Permit));
    assert_eq!(local.pdp().requests(), 3);
}

#[tokio::test]
async fn one_request_is_in_flight_for_a_key() {
    let (local, access) = platform().await;
    local.pdp().set(Mode::Late(Duration::from_millis(100)));
    let ask = |n: i32| {
        let event = generic_event(&format!("e{n}"), "/party/1");
        access.decide_one(question::push("/org/ttd", &event))
    };
    let answers = futures::future::join_all((0..200).map(ask)).await;
    assert!(answers.iter().all(|answer| *answer == Permit));
    assert_eq!((local.pdp().requests(), local.pdp().questions()), (1, 1));
}

#[tokio::test]
async fn an_asker_that_goes_away_takes_no_answer_from_the_others() {
    let (local, access) = platform().await;
    local.pdp().set(Mode::Late(Duration::from_millis(200)));
    let ask = || access.decide_one(question::push("/org/ttd", &generic_event("e", "/party/1")));
    tokio::select! {
        biased;
        _ = ask() => panic!("the answer comes late"),
        () = eventually("the request is under way", || async { local.pdp().requests() == 1 }) => {}
    }
    assert_eq!(ask().await, Permit);
    assert_eq!(local.pdp().requests(), 1);
}

#[tokio::test]
async fn refusals_and_permits_are_forgotten() {
    let local = local().await;
    let short = Duration::from_millis(50);
    let access = tuned(&local, |settings| (settings.permit_ttl, settings.refusal_ttl) = (short, short));
    let (access, event) = (&access, &generic_event("e", "/party/1"));
    let ask = || access.decide_one(question::push("/user/7", event));
    assert_eq!(ask().await, Refuse);
    let rule = local.pdp().permit(Rule::new(("urn:altinn:userid", "7"), &["subscribe"], GENERIC));
    eventually("the new right counts", || async { ask().await == Permit }).await;
    assert!(local.pdp().revoke(rule));
    eventually("the revoked right is gone", || async { ask().await == Refuse }).await;
}

#[tokio::test]
async fn obligations_are_compared_with_each_token() {
    let (local, access) = platform().await;
    local.pdp().revoke_all();
    let user = ("urn:altinn:userid", "1337");
    local
        .pdp()
        .permit(Rule::new(user, &["read"], APP).for_party(50_001_337).at_level(3).at_level_for_orgs(4));
    let org = ("urn:altinn:org", "ttd");
    local.pdp().permit(Rule::new(org, &["read"], APP).at_level(4).at_level_for_orgs(3));
    let enterprise = |level| TokenRequest::enterprise(Some("ttd"), "991825827", &[]).level(level);
    for (request, expected) in [
        (TokenRequest::personal(1337, 50_001_337, &[]).level(2), Refuse),
        (TokenRequest::personal(1337, 50_001_337, &[]).level(3), Permit),
        (enterprise(2), Refuse),
        (enterprise(3), Permit),
        (enterprise(4), Permit),
    ] {
        let caller = caller(&access, &local.token(&request)).await;
        for _ in 0..2 {
            let question = question::read_app(&caller, &app_event("e", 50_001_337));
            assert_eq!(access.decide_one(question).await, expected, "{request:?}");
        }
    }
    let push = question::push("/user/1337", &app_event("e", 50_001_337));
    assert_eq!(access.decide_one(push).await, Permit, "a push compares no levels");
}

#[tokio::test]
async fn subscribing_compares_levels_like_reading() {
    let (local, access) = platform().await;
    local.pdp().revoke_all();
    local.pdp().permit(Rule::new(("urn:altinn:userid", "1337"), &["read"], APP).at_level(3));
    for (level, expected) in [(2, Refuse), (3, Permit)] {
        let person = TokenRequest::personal(1337, 50_001_337, &[]).level(level);
        let person = caller(&access, &local.token(&person)).await;
        let asked = question::subscribe(&person, "/user/1337", APP, Some("/party/50001337"));
        assert_eq!(access.decide_one(asked).await, expected, "{level}");
    }
}

#[tokio::test]
async fn nobody_answering_is_unknown_and_never_remembered() {
    let local = local().await;
    let event = &generic_event("e", "/party/1");
    let question = || question::push("/org/ttd", event);
    let patient = || tuned(&local, |settings| settings.timeout = Duration::from_millis(200));
    for mode in [Mode::Hang, Mode::Fail(429), Mode::Fail(401), Mode::Fail(404), Mode::Fail(302)] {
        local.pdp().set(mode);
        assert_eq!(patient().decide_one(question()).await, Unknown, "{mode:?}");
    }
    let access = &patient();
    let ask = || access.decide_one(question());
    local.pdp().set(Mode::Fail(500));
    assert_eq!(ask().await, Unknown);
    local.pdp().set(Mode::Answer);
    eventually("it answers again", || async { ask().await == Permit }).await;
    local.pdp().set(Mode::Fail(500));
    assert_eq!(ask().await, Permit, "what is remembered goes on counting");
}

#[tokio::test]
async fn after_a_failure_others_are_told_at_once() {
    let local = local().await;
    let access = tuned(&local, |settings| settings.timeout = Duration::from_millis(200));
    local.pdp().set(Mode::Hang);
    let ask = |party: i32| {
        let event = generic_event("e", &format!("/party/{party}"));
        let question = question::push("/org/ttd", &event);
        let access = &access;
        async move { access.decide_one(question).await }
    };
    assert_eq!(ask(0).await, Unknown);
    for party in 1..=100 {
        assert_eq!(ask(party).await, Unknown);
    }
    assert!(local.pdp().requests() < 10, "{} requests", local.pdp().requests());
}

#[tokio::test]
async fn publishers_with_the_admin_scope_and_impossible_app_events_are_not_asked_about() {
    let (local, access) = platform().await;
    let scopes = ["altinn:events.publish", "altinn:events.publish.admin"];
    let admin = caller(&access, &local.enterprise_token(None, "310075728", &scopes)).await;
    let event = generic_event("e", "/party/1");
    let answers =
        access.decide(vec![question::publish(&admin, &event), question::read_app(&admin, &event)]).await;
    assert_eq!(answers, [Permit, Refuse]);
    assert_eq!(local.pdp().requests(), 0);
}

#[tokio::test]
async fn without_register_a_question_about_a_person_is_unknown_and_its_neighbours_are_answered() {
    let (local, access) = platform().await;
    local.register().set(Mode::Fail(500));
    let about = |subject| question::push("/org/ttd", &generic_event("e", subject));
    let person = about("urn:altinn:person:identifier-no:02857010054");
    assert_eq!(access.decide(vec![person, about("/party/1")]).await, [Unknown, Permit]);
}

#[tokio::test]
async fn a_source_cannot_borrow_the_rights_of_another_app() {
    let (local, access) = platform().await;
    let person = person(&local, &access).await;
    let event = crate::parse(&serde_json::json!({
        "specversion": "1.0", "id": "e", "type": "app.instance.created", "subject": "/party/50001337",
        "source": "https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/6fb3f738",
        "resource": "urn:altinn:resource:app_ttd_secret-app",
    }));
    local.pdp().permit(Rule::new(("urn:altinn:org", "ttd"), &["read"], event.resource()));
    let questions = vec![question::read_app(&person, &event), question::push("/user/1337", &event)];
    assert_eq!(access.decide(questions).await, [Refuse, Refuse]);
}
