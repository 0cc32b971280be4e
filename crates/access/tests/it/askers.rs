//! Who asks for many cannot keep the others from an answer.

use std::time::Duration;

use Decision::{Permit, Unknown};
use access::{Access, AccessSettings, Decision, Question, question};
use futures::future::join_all;
use local_altinn::{LocalAltinn, Mode};

use crate::{PATIENCE, eventually, generic_event, local, settings};

fn about(party: i32) -> Question {
    question::push("/org/ttd", &generic_event("e", &format!("/party/{party}")))
}

fn tuned(local: &LocalAltinn, timeout: Duration, max_connections: usize) -> Access {
    Access::new(&AccessSettings { timeout, max_connections, ..settings(local) }).unwrap()
}

/// Asks one by one, each in a request of its own.
async fn ask_each(access: &Access, parties: std::ops::Range<i32>) -> Vec<Decision> {
    join_all(parties.map(|party| access.decide_one(about(party)))).await
}

#[tokio::test]
async fn readers_whose_questions_hang_keep_no_publisher_and_no_receiver_from_an_answer() {
    let local = local().await;
    let readers = &tuned(&local, 3 * PATIENCE, 4);
    local.pdp().set(Mode::Hang);
    local.register().set(Mode::Hang);
    let others = async {
        eventually("the readers have all their connections", || async {
            (local.pdp().requests(), local.register().requests()) == (4, 4)
        })
        .await;
        local.pdp().set(Mode::Answer);
        local.register().set(Mode::Answer);
        for access in [readers.for_publishers(), readers.for_receivers()] {
            assert_eq!(ask_each(&access, 0..10).await, [Permit; 10]);
            assert!(access.party_of_organisation("311783777").await.unwrap().is_some());
        }
    };
    let hanging = async {
        let units = (0..10).map(|n| async move {
            readers.party_of_organisation(&format!("{}", 900_000_000 + n)).await.ok()
        });
        tokio::join!(ask_each(readers, 100..110), join_all(units))
    };
    tokio::select! {
        _ = hanging => panic!("they hang"),
        () = others => {}
    }
}

#[tokio::test]
async fn who_waits_in_vain_for_a_connection_says_nothing_about_the_neighbour() {
    let local = local().await;
    let access = tuned(&local, Duration::from_millis(300), 1);
    local.pdp().set(Mode::Hang);
    assert_eq!(ask_each(&access, 0..20).await, [Unknown; 20]);
    assert!(local.pdp().requests() <= 2, "the connection is one");
    local.pdp().set(Mode::Answer);
    assert_eq!(access.decide_one(about(100)).await, Permit);
}

#[tokio::test]
async fn questions_that_fail_silence_nobody_whose_questions_are_answered() {
    let local = local().await;
    let access = tuned(&local, PATIENCE, 4);
    for round in 0..10 {
        local.pdp().set(Mode::Fail(500));
        assert_eq!(access.decide_one(about(1_000 + round)).await, Unknown);
        local.pdp().set(Mode::Answer);
        assert_eq!(ask_each(&access, 2 * round..2 * round + 2).await, [Permit; 2], "round {round}");
    }
}
