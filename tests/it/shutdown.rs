//! Start and stop: exit codes, order, nothing lost.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use platform_tests::{
    client::generic,
    process::{Process, binary},
    wait::until,
    world::{ALL, World},
};
use tokio::task::JoinSet;

#[test]
fn a_bad_configuration_lists_all_mistakes_and_exits_64() {
    let output = Command::new(binary())
        .arg("run")
        .env_clear()
        .envs([
            ("LISTEN", "nowhere"),
            ("SERVICES", "printer"),
            ("PERMIT_TTL_MS", "x"),
            ("EVENTS_RETENTION_DAYS", "3"),
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{told}");
    for name in ["LISTEN", "SERVICES", "PERMIT_TTL_MS", "EVENTS_RETENTION_DAYS"] {
        assert!(told.contains(name), "{name} is not in: {told}");
    }
}

#[test]
fn kafka_that_does_not_answer_ends_the_start_with_a_sentence_and_code_1() {
    let dead = platform_tests::process::free_port().to_string();
    let nobody = "http://127.0.0.1:9/";
    let output = Command::new(binary())
        .args(["run", "--services", "ingest"])
        .env_clear()
        .envs([("KAFKA_BROKERS", dead.as_str()), ("LISTEN", "127.0.0.1:0"), ("ADMIN_LISTEN", "127.0.0.1:0")])
        .envs(["OPENID_WELL_KNOWN_ENDPOINT", "AUTHORIZATION_API", "REGISTER_API"].map(|name| (name, nobody)))
        .env("PLATFORM_CERTIFICATES", format!("{nobody}{{issuer}}"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&format!("Kafka at {dead} does not answer")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_that_dies_takes_the_process_down_with_a_code_that_is_not_zero() {
    let world = World::new("partdies").await;
    let mut process = Process::start(&world, ALL).await;
    // A schema that goes away is a defect that no retry mends.
    let drop_schema = format!("drop schema {} cascade", world.name);
    platform_tests::world::execute(&world.store(), drop_schema).await;
    let client = world.client(process.public);
    client.publish(&generic("last", "/party/1")).await;
    let status = until("the process ends", || {
        let ended = process.ended();
        async move { ended.ok_or_else(|| "it runs".to_owned()) }
    })
    .await;
    assert_eq!(status.code(), Some(1), "{}", process.log());
    assert!(process.log().contains("failed"), "{}", process.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing() {
    let world = World::new("sigterm").await;
    let mut process = Process::start(&world, ALL).await;
    let client = world.client(process.public);
    client.subscribe_and_wait(&world.receiver.url("sigterm")).await;
    until("events reach the subscription", || async {
        client.publish(&generic(&uuid::Uuid::new_v4().to_string(), "/party/1")).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        if world.receiver.events("sigterm").is_empty() { Err("none came".to_owned()) } else { Ok(()) }
    })
    .await;
    let mut publishers = JoinSet::new();
    for publisher in 0..8 {
        let client = client.clone();
        publishers.spawn(async move {
            let mut accepted = BTreeSet::new();
            for n in 0..2_000 {
                let id = format!("{publisher}-{n}");
                match client.publish(&generic(&id, "/party/1")).await {
                    Some(status) if status == 200 => accepted.insert(id),
                    Some(_) | None => return accepted,
                };
            }
            accepted
        });
    }
    until("the load runs", || async {
        let count = world.receiver.events("sigterm").len();
        if count > 100 { Ok(()) } else { Err(format!("{count} delivered")) }
    })
    .await;
    let status = process.terminate().await;
    assert_eq!(status.code(), Some(0), "{}", process.log());
    let mut accepted = BTreeSet::new();
    while let Some(ids) = publishers.join_next().await {
        accepted.extend(ids.unwrap());
    }
    assert!(accepted.len() > 100);
    process.restart(&world);
    process.ready().await;
    until("every accepted event is delivered", || async {
        let delivered = world.receiver.delivered("sigterm");
        let open = accepted.iter().filter(|id| !delivered.contains_key(*id)).count();
        if open == 0 { Ok(()) } else { Err(format!("{open} of {} are not", accepted.len())) }
    })
    .await;
}
