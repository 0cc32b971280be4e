//! Where the log is, and the client settings that matter, each with its reason.

use std::time::Duration;

use rdkafka::ClientConfig;
use service::env::Env;

use crate::clients::Clients;

/// How to reach the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Bootstrap list, `host:port` separated by commas.
    pub brokers: String,
    /// Put before every topic and group name; empty in production, one a platform in tests.
    pub prefix: String,
    /// Longest wait for an acknowledgement before an append counts as failed.
    pub message_timeout: Duration,
    /// Further client settings, `name=value` separated by commas (TLS, SASL).
    pub extra: Vec<(String, String)>,
    /// Who is told about the clients that are made with these settings.
    pub clients: Clients,
}

impl KafkaSettings {
    /// `KAFKA_BROKERS`, `KAFKA_PREFIX`, `KAFKA_MESSAGE_TIMEOUT_MS`, `KAFKA_CLIENT_SETTINGS`.
    pub fn from_env(env: &Env) -> Self {
        let extra = env.secret("KAFKA_CLIENT_SETTINGS").unwrap_or_default();
        let extra = extra
            .split(',')
            .filter(|pair| !pair.trim().is_empty())
            .filter_map(|pair| match pair.split_once('=') {
                Some((name, value)) => Some((name.trim().to_owned(), value.trim().to_owned())),
                None => {
                    env.mistake("KAFKA_CLIENT_SETTINGS", "a part has no `=`; example: security.protocol=ssl");
                    None
                }
            })
            .collect();
        Self {
            brokers: env.text("KAFKA_BROKERS", "127.0.0.1:9092"),
            prefix: env.text("KAFKA_PREFIX", ""),
            message_timeout: env.duration_ms("KAFKA_MESSAGE_TIMEOUT_MS", 5_000),
            extra,
            clients: Clients::default(),
        }
    }

    /// Settings for a broker without TLS, for tests and tools.
    pub fn plain(brokers: &str, prefix: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            prefix: prefix.to_owned(),
            message_timeout: Duration::from_secs(5),
            extra: Vec::new(),
            clients: Clients::default(),
        }
    }

    /// The full name of a topic.
    pub fn topic(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The full name of a group.
    pub fn group(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(crate) fn client(&self) -> ClientConfig {
        self.client_called("altinn-events")
    }

    /// A client that brokers know by this name.
    fn client_called(&self, id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", id)
            // A broker that restarts is found again within a second.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "30000");
        for (name, value) in &self.extra {
            config.set(name, value);
        }
        config
    }

    pub(crate) fn producer(&self, linger_ms: &str) -> ClientConfig {
        let mut config = self.client();
        config
            // Acknowledged means written by all in-sync replicas, once, in order (guarantee 1).
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("delivery.timeout.ms", self.message_timeout.as_millis().to_string())
            // The JVM clients' partitioner: other producers and jobs agree on where a key lives.
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("linger.ms", linger_ms)
            // The bounds of what waits for an acknowledgement.
            .set("queue.buffering.max.messages", "100000")
            .set("queue.buffering.max.kbytes", "131072")
            .set("message.max.bytes", "2000000");
        config
    }

    pub(crate) fn consumer(&self, group: &str) -> ClientConfig {
        let mut config = self.client_called(&format!("altinn-events.{group}"));
        if !self.groups_are_kept_by_the_broker() {
            config
                .set("partition.assignment.strategy", "cooperative-sticky")
                // The defaults stall every partition 3 s at a join and 45 s after a kill.
                .set("session.timeout.ms", "6000")
                .set("heartbeat.interval.ms", "1000");
        }
        config
            .set("group.id", self.group(group))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // A lost position stops the service and says so; it never silently rewinds or skips.
            .set("auto.offset.reset", "error")
            .set("fetch.wait.max.ms", "100")
            // Without this a consumer slower than the network stalls a second at a time.
            .set("fetch.queue.backoff.ms", "10")
            // The bounds of what is fetched ahead, a consumer.
            .set("queued.max.messages.kbytes", "16384")
            .set("queued.min.messages", "20000");
        config
    }

    /// Whether `group.protocol=consumer` is set. Then the broker assigns partitions and says how long a member may be silent, and
    /// the client refuses settings of its own for that.
    fn groups_are_kept_by_the_broker(&self) -> bool {
        self.extra
            .iter()
            .any(|(name, value)| name == "group.protocol" && value.eq_ignore_ascii_case("consumer"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_the_broker_keeps_the_groups_its_settings_are_left_out() {
        let of_the_group = ["partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"];
        let plain = KafkaSettings::plain("127.0.0.1:1", "");
        let ours = plain.consumer("g");
        assert!(of_the_group.iter().all(|name| ours.get(name).is_some()));
        let extra = vec![("group.protocol".to_owned(), "consumer".to_owned())];
        let theirs = KafkaSettings { extra, ..plain }.consumer("g");
        assert!(of_the_group.iter().all(|name| theirs.get(name).is_none()));
        assert_eq!(theirs.get("group.protocol"), Some("consumer"));
    }
}
