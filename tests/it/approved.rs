//! Organisations that the owner of a resource approves for all parties: by name, or by an access list.

use platform_tests::{
    client::Client,
    wait::until,
    world::{ALL, World},
};
use serde_json::json;

use crate::probe;

const RESOURCE: &str = "urn:altinn:resource:kve-notices";
/// The list that the resource's policy names.
const LIST: &str = "kve:approved-systems";
/// On the list; named by the policy; neither.
const LISTED: &str = "313810135";
const NAMED: &str = "315596688";
const STRANGER: &str = "311783777";

fn client(world: &World, address: std::net::SocketAddr, org: Option<&str>, number: &str) -> Client {
    let scopes = ["altinn:events.publish", "altinn:events.subscribe"];
    Client::new(address, world.altinn.enterprise_token(org, number, &scopes))
}

fn notice(id: &str, subject: Option<&str>) -> serde_json::Value {
    let mut event = json!({
        "specversion": "1.0", "id": id, "source": "https://kve.example.no/1", "type": "notice", "resource": RESOURCE,
    });
    if let Some(subject) = subject {
        event["subject"] = json!(subject);
    }
    event
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_by_organisation_permits_subscription_read_and_push_and_a_rule_by_list_the_subscription_only()
{
    let mut world = World::new("approved").await;
    world.set("PERMIT_TTL_MS", "1");
    let platform = world.start(ALL).await;
    let owner = client(&world, platform.address(), Some("kve"), "310926728");
    let [named, listed, stranger] =
        [NAMED, LISTED, STRANGER].map(|number| client(&world, platform.address(), None, number));
    let wish = |name: &str| json!({"endPoint": world.receiver.url(name), "resourceFilter": RESOURCE});
    let refused = stranger.post("/events/api/v1/subscriptions").json(&wish("stranger")).send().await.unwrap();
    assert_eq!(refused.status(), 403);
    let ids = [named.subscribe_with(&wish("named")).await, listed.subscribe_with(&wish("listed")).await];
    named.validated(ids[0]).await;
    listed.validated(ids[1]).await;
    probe::changes_are_in_force(&world, &world.client(platform.address())).await;
    let subjects = [Some("/party/51000005"), Some("/user/1337"), Some("free text"), None];
    for (n, subject) in subjects.into_iter().enumerate() {
        assert_eq!(owner.publish(&notice(&format!("e{n}"), subject)).await.unwrap(), 200);
    }
    until("the named one has all, and the listed one what is about nobody", || async {
        let (named, listed) = (probe::delivered(&world, "named"), probe::delivered(&world, "listed"));
        if named.len() == 4 && listed.contains_key("e3") {
            Ok(())
        } else {
            Err(format!("{named:?} {listed:?}"))
        }
    })
    .await;
    probe::everything_is_stored(&world).await;
    let feed = format!("/events/api/v1/events?resource={RESOURCE}&after=0");
    assert_eq!(named.try_page(&feed).await.unwrap().events.len(), 4);
    assert_eq!(listed.try_page(&feed).await.unwrap().events.len(), 1);
    probe::nothing_is_left_to_push(&world).await;
    assert_eq!(probe::delivered(&world, "listed").len(), 1, "a subject that is no party is not about nobody");
    let state = async |client: &Client, id: i64| {
        let path = format!("/events/api/v1/subscriptions/{id}");
        client.get(&path).send().await.unwrap().json::<serde_json::Value>().await.unwrap()
    };
    until("the listed one reads that its events are refused", || async {
        let shown = state(&listed, ids[1]).await;
        if shown["refused"]["reason"] == "not-permitted" { Ok(()) } else { Err(format!("{shown}")) }
    })
    .await;
    assert!(state(&named, ids[0]).await.get("refused").is_none());

    world.altinn.pdp().withdraw(LIST, LISTED);
    until("the list counts no more", || async {
        let page = listed.try_page(&feed).await.unwrap();
        if page.events.is_empty() { Ok(()) } else { Err(format!("{page:?}")) }
    })
    .await;
    assert_eq!(owner.publish(&notice("after", None)).await.unwrap(), 200);
    until("the named one has it", || async {
        let named = probe::delivered(&world, "named");
        if named.contains_key("after") { Ok(()) } else { Err(format!("{named:?}")) }
    })
    .await;
    probe::nothing_is_left_to_push(&world).await;
    assert_eq!(probe::delivered(&world, "listed").len(), 1);
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_connected_to_a_resource_narrows_rights_to_its_parties() {
    let mut world = World::new("restricted").await;
    world.set("PERMIT_TTL_MS", "1");
    let platform = world.start(ALL).await;
    let owner = client(&world, platform.address(), Some("kve"), "310926728");
    let named = client(&world, platform.address(), None, NAMED);
    let pdp = world.altinn.pdp();
    pdp.restrict("kve-notices", "kve:readable", &["subscribe"]);
    pdp.approve("kve:readable", STRANGER);
    pdp.restrict("kve-notices", "kve:published", &["publish"]);
    for member in [STRANGER, "314411153"] {
        pdp.approve("kve:published", member);
    }
    for (id, party) in [("member", 51_000_002), ("other", 51_000_005)] {
        assert_eq!(owner.publish(&notice(id, Some(&format!("/party/{party}")))).await.unwrap(), 200);
    }
    probe::everything_is_stored(&world).await;
    let feed = format!("/events/api/v1/events?resource={RESOURCE}&after=0");
    let page = named.try_page(&feed).await.unwrap();
    assert_eq!(page.events.iter().map(|event| event["id"].clone()).collect::<Vec<_>>(), ["member"]);
    platform.stop().await;
}
