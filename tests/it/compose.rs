//! `docker-compose.yml` and `Dockerfile` cannot be started where the tests run, so they are compared with what is true elsewhere:
//! the topics, the settings that the code reads, the commands of the binary, the local stack's versions and broker settings.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

use altinn_events::settings::{Service, Settings};
use event::topics::Topics;
use platform_tests::process::binary;
use serde_json::Value;
use service::{env::Env, telemetry::LogSettings};

use crate::guard_rails::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Parsed as YAML; a key that stands twice is a mistake.
fn compose() -> Value {
    serde_saphyr::from_str(&read("docker-compose.yml")).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|part| part.as_str().unwrap().to_owned()).collect()
}

fn environment(container: &Value) -> BTreeMap<String, String> {
    let pairs = container["environment"].as_object().into_iter().flatten();
    pairs
        .map(|(name, value)| (name.clone(), value.as_str().expect("a value is written as text").to_owned()))
        .collect()
}

/// The containers that run services of ours: name, services, environment.
fn services() -> Vec<(String, Vec<String>, BTreeMap<String, String>)> {
    let compose = compose();
    let runs = |container: &Value| strings(&container["command"]).first().is_some_and(|word| word == "run");
    let containers = compose["services"].as_object().unwrap().iter().filter(|(_, container)| runs(container));
    containers
        .map(|(name, container)| (name.clone(), strings(&container["command"]), environment(container)))
        .collect()
}

/// `offsets.retention.minutes` as the image of Kafka wants it.
fn variable(property: &str) -> String {
    format!("KAFKA_{}", property.to_uppercase().replace('.', "_"))
}

#[test]
fn the_containers_run_each_of_the_four_services_once() {
    let mut seen = Vec::new();
    for (name, command, _) in services() {
        assert_eq!(command[1], "--services", "{name}");
        seen.extend(command[2].split(',').map(|service| service.parse::<Service>().unwrap()));
    }
    seen.sort_unstable();
    assert_eq!(seen, [Service::Ingest, Service::Projector, Service::Dispatcher, Service::QueryApi]);
}

#[test]
fn every_variable_of_the_containers_is_a_setting_and_has_its_shape() {
    let image = read("Dockerfile");
    let image = image.lines().find_map(|line| line.strip_prefix("ENV ")).unwrap();
    let image = image.split(' ').map(|pair| pair.split_once('=').unwrap());
    for (container, command, own) in services() {
        let mut pairs: BTreeMap<&str, &str> = image.clone().collect();
        pairs.extend(own.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        pairs.insert("SERVICES", &command[2]);
        let env = Env::from_pairs(pairs.iter().map(|(name, value)| (*name, *value)));
        LogSettings::from_env(&env);
        let settings = Settings::from_env(&env).unwrap_or_else(|error| panic!("{container}: {error}"));
        let known: BTreeSet<&str> = env.table().iter().map(|setting| setting.name).collect();
        let unknown: Vec<_> = pairs.keys().filter(|name| !known.contains(*name)).collect();
        assert!(unknown.is_empty(), "{container} sets {unknown:?}, which nothing reads");
        assert!(settings.listen.ip().is_unspecified(), "{container} can only be reached from inside");
    }
}

#[test]
fn each_health_check_asks_the_admin_port_that_its_container_has() {
    let compose = compose();
    let mut ports = BTreeSet::new();
    for (container, _, environment) in services() {
        let port = environment["ADMIN_LISTEN"].rsplit(':').next().unwrap().to_owned();
        let check = strings(&compose["services"][&container]["healthcheck"]["test"]);
        assert_eq!(check.last().unwrap(), &format!("http://127.0.0.1:{port}/readyz"), "{container}");
        assert!(
            ports.insert(port),
            "{container}: the containers share a network, so each has a port of its own"
        );
    }
    let containers = compose["services"].as_object().unwrap().iter();
    for (name, container) in containers.filter(|(name, _)| *name != "setup") {
        assert!(container["healthcheck"]["test"].is_array(), "{name} has no health check");
    }
}

#[test]
fn kafka_in_a_container_is_set_up_as_the_local_one_and_fits_the_topics() {
    let compose = compose();
    let broker = environment(&compose["services"]["kafka"]);
    let properties = read("crates/local-stack/src/kafka.properties");
    for line in properties.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) = line.split_once('=').unwrap();
        assert_eq!(broker.get(&variable(name)).map(String::as_str), Some(value), "{name}");
    }
    let longest = Topics::load().all().iter().map(|topic| topic.retention_ms).max().unwrap();
    let positions: i64 = broker["KAFKA_OFFSETS_RETENTION_MINUTES"].parse().unwrap();
    assert!(positions * 60_000 >= longest, "positions are forgotten before the events are");
    let replication = |environment: &BTreeMap<String, String>| environment["TOPIC_REPLICATION"].clone();
    assert!(
        services().iter().all(|(_, _, environment)| replication(environment) == "1"),
        "there is one broker"
    );
}

#[test]
fn containers_and_local_stack_have_the_same_versions() {
    let pom = read("crates/local-stack/pom.xml");
    let pinned = |name: &str| {
        let (_, rest) = pom.split_once(&format!("<{name}.version>")).unwrap();
        rest.split_once('<').unwrap().0.to_owned()
    };
    let compose = compose();
    let image = |name: &str| compose["services"][name]["image"].as_str().unwrap().to_owned();
    assert_eq!(image("kafka"), format!("apache/kafka:{}", pinned("kafka")));
    assert_eq!(image("postgres"), format!("postgres:{}", pinned("postgres").split('.').next().unwrap()));
}

#[test]
fn every_command_in_the_containers_and_the_guides_exists() {
    let words = |text: &str| {
        let calls: Vec<_> = text
            .match_indices("altinn-events ")
            .map(|(at, name)| text[at + name.len()..].to_owned())
            .collect();
        calls.into_iter().filter_map(|rest| {
            rest.split(|letter: char| !letter.is_ascii_lowercase()).next().map(str::to_owned)
        })
    };
    let help = Command::new(binary()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let known: BTreeSet<&str> =
        help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let compose = read("docker-compose.yml");
    let own = self::compose()["services"].clone();
    let own = own.as_object().unwrap().values().filter(|container| container["image"] == "altinn-events");
    let own: Vec<_> = own.filter_map(|container| strings(&container["command"]).first().cloned()).collect();
    let calls = words(&compose).chain(own);
    for call in calls {
        assert!(
            known.contains(call.as_str()),
            "docker-compose.yml calls `altinn-events {call}`, there are {known:?}"
        );
    }
    for guide in ["README.md", "CONTRIBUTING.md"] {
        let text = read(guide);
        let marked = text
            .lines()
            .filter(|line| line.starts_with("    ") || line.contains('`'))
            .collect::<Vec<_>>()
            .join("\n");
        for call in words(&marked).filter(|call| !call.is_empty()) {
            assert!(
                known.contains(call.as_str()),
                "{guide} calls `altinn-events {call}`, there are {known:?}"
            );
        }
    }
}

#[test]
fn whoever_waits_for_a_container_waits_for_one_that_exists() {
    let compose = compose();
    for (name, container) in compose["services"].as_object().unwrap() {
        for other in container["depends_on"].as_object().into_iter().flatten().map(|(other, _)| other) {
            assert!(compose["services"][other].is_object(), "{name} waits for {other}, which does not exist");
        }
    }
}
