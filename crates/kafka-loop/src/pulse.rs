//! Reads what a client tells about itself in its statistics, once a second.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rdkafka::{ClientConfig, ClientContext, config::RDKafkaLogLevel, error::KafkaError as ClientError};
use serde::Deserialize;

use crate::watch::Pulse;

/// Where a client's callbacks leave what it tells, and its owner takes it. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulses(Arc<Mutex<Option<Pulse>>>);

impl Pulses {
    fn lock(&self) -> MutexGuard<'_, Option<Pulse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the clients of this configuration tell.
    pub(crate) fn ask(config: &mut ClientConfig) {
        config.set("statistics.interval.ms", "1000");
    }

    /// What was told since the last call.
    pub(crate) fn news(&self) -> Option<Pulse> {
        self.lock().take()
    }

    pub(crate) fn take_statistics(&self, text: &[u8]) {
        match serde_json::from_slice::<Statistics>(text) {
            Ok(statistics) => *self.lock() = Some(statistics.pulse()),
            Err(error) => tracing::warn!(%error, "the Kafka client's statistics cannot be read"),
        }
    }
}

/// The client's callbacks that have nothing to do with what it is for.
impl ClientContext for Pulses {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, message, "kafka client");
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.take_statistics(statistics);
    }

    fn error(&self, error: ClientError, reason: &str) {
        tracing::debug!(%error, reason, "kafka client error");
    }
}

/// The few members that matter here.
#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    msg_cnt: u64,
    brokers: HashMap<String, Broker>,
}

#[derive(Deserialize)]
struct Broker {
    source: String,
    state: String,
    waitresp_cnt: i64,
    outbuf_cnt: i64,
    rx: u64,
}

impl Broker {
    /// A broker of the cluster: given by us or told by another, not a role that one of them has.
    fn is_a_place(&self) -> bool {
        self.source == "learned" || self.source == "configured"
    }

    fn is_up(&self) -> bool {
        self.state == "UP" || self.state == "REAUTH"
    }
}

impl Statistics {
    fn pulse(&self) -> Pulse {
        let places = || self.brokers.values().filter(|broker| broker.is_a_place());
        Pulse {
            knows_brokers: places().next().is_some(),
            connected: places().any(Broker::is_up),
            answers: self.brokers.values().map(|broker| broker.rx).sum(),
            waits: self.msg_cnt > 0
                || self.brokers.values().any(|broker| broker.waitresp_cnt > 0 || broker.outbuf_cnt > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(msg_cnt: u64, brokers: &[(&str, &str, i64, u64)]) -> Pulse {
        let brokers: Vec<String> = brokers
            .iter()
            .enumerate()
            .map(|(n, (source, state, waiting, rx))| {
                format!(
                    r#""b{n}":{{"source":"{source}","state":"{state}","waitresp_cnt":{waiting},"outbuf_cnt":0,"rx":{rx},"more":{{}}}}"#
                )
            })
            .collect();
        let text = format!(r#"{{"name":"x","msg_cnt":{msg_cnt},"brokers":{{{}}}}}"#, brokers.join(","));
        let pulses = Pulses::default();
        pulses.take_statistics(text.as_bytes());
        pulses.news().unwrap()
    }

    #[test]
    fn a_coordinator_and_the_client_itself_are_no_brokers_that_it_knows() {
        let lost = told(3, &[("internal", "INIT", 0, 0), ("logical", "UP", 1, 7)]);
        assert_eq!(lost, Pulse { knows_brokers: false, connected: false, answers: 7, waits: true });
        let whole = told(0, &[("learned", "UP", 0, 5), ("logical", "UP", 0, 7)]);
        assert_eq!(whole, Pulse { knows_brokers: true, connected: true, answers: 12, waits: false });
        let trying = told(0, &[("configured", "CONNECT", 0, 0)]);
        assert_eq!(trying, Pulse { knows_brokers: true, connected: false, answers: 0, waits: false });
    }
}
