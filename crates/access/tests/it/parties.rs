//! Parties by number.

use access::Unavailable;
use local_altinn::Mode;

use crate::platform;

#[tokio::test]
async fn parties_are_found_by_number_and_remembered() {
    let (local, access) = platform().await;
    let parties = local.register().parties();
    let person = parties.iter().find(|party| party.user_id == Some(1337)).unwrap();
    for _ in 0..3 {
        assert_eq!(access.party_of_organisation("991825827").await, Ok(Some(50_000_001)));
        let number = person.person_number.as_deref().unwrap();
        assert_eq!(access.party_of_person(number).await, Ok(Some(50_001_337)));
        assert_eq!(access.party_of_organisation("999999999").await, Ok(None));
    }
    assert_eq!(local.register().requests(), 3);
}

#[tokio::test]
async fn what_is_not_a_number_is_never_asked_about() {
    let (local, access) = platform().await;
    for wrong in ["", "12345678", "1234567890", "12345678a", "../../../1", "02857010053"] {
        assert_eq!(access.party_of_organisation(wrong).await, Ok(None), "{wrong}");
        assert_eq!(access.party_of_person(wrong).await, Ok(None), "{wrong}");
    }
    assert_eq!(local.register().requests(), 0);
}

#[tokio::test]
async fn no_answer_is_not_an_unknown_party() {
    let (local, access) = platform().await;
    local.register().set(Mode::Fail(500));
    assert_eq!(access.party_of_organisation("991825827").await, Err(Unavailable("Register")));
    local.register().set(Mode::Fail(401));
    let (_, access) = (local, access);
    assert_eq!(access.party_of_organisation("991825827").await, Err(Unavailable("Register")));
}

#[tokio::test]
async fn who_asks_the_same_at_once_shares_one_request() {
    let (local, access) = platform().await;
    let many = (0..50).map(|_| access.party_of_organisation("991825827"));
    assert!(futures::future::join_all(many).await.iter().all(|party| *party == Ok(Some(50_000_001))));
    assert_eq!(local.register().requests(), 1);
}

#[tokio::test]
async fn the_main_unit_of_a_sub_unit_is_found_once_and_remembered() {
    let (local, access) = platform().await;
    let main = 51_000_002;
    let many = (0..20).map(|_| access.main_unit_of("/organisation/312601931"));
    let found = futures::future::join_all(many).await;
    assert!(found.iter().all(|found| found.as_ref() == Ok(&Some(main))));
    assert_eq!(access.main_unit_of("/party/51000003").await, Ok(Some(main)));
    for none in
        ["/organisation/311783777", "urn:altinn:organization:identifier-no:999999999", "/party/50000002"]
    {
        assert_eq!(access.main_unit_of(none).await, Ok(None));
        assert_eq!(access.main_unit_of(none).await, Ok(None));
    }
    for nobody in ["urn:x", "312601931", "/person/02857010054", "/org/ttd"] {
        assert_eq!(access.main_unit_of(nobody).await, Ok(None));
    }
    assert_eq!(local.register().requests(), 5);
}

#[tokio::test]
async fn no_answer_is_not_an_organisation_without_a_main_unit() {
    let (local, access) = platform().await;
    for silent in [Mode::Fail(401), Mode::Fail(500)] {
        local.register().set(silent);
        assert_eq!(access.main_unit_of("/organisation/312601931").await, Err(Unavailable("Register")));
    }
}

#[tokio::test]
async fn a_number_that_register_does_not_take_is_nobodys() {
    let (local, access) = platform().await;
    local.register().set(Mode::Fail(400));
    assert_eq!(access.main_unit_of("/organisation/123456789").await, Ok(None));
    assert_eq!(access.party_of_organisation("123456789").await, Ok(None));
    assert_eq!(access.party_of_person("02857010054").await, Ok(None));
}
