//! A platform of its own for one test: topics with a prefix, a schema, a stand-in for Altinn, a receiver.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

use altinn_events::{platform::Platform, settings::Settings};
use kafka_loop::{KafkaSettings, Producer};
use local_altinn::{LocalAltinn, Options};
use service::{env::Env, prometheus::proto::Metric};
use store::{Store, StoreSettings};

use crate::{client::Client, receiver::Receiver};

/// The resource that the test department owns.
pub const RESOURCE: &str = "urn:altinn:resource:ttd-altinn-events-automated-tests";
/// All four services.
pub const ALL: &str = "ingest,projector,dispatcher,query-api";

/// One test's platform. Several processes' worth of services may run in it.
pub struct World {
    /// Name of the topics' prefix and of the schema.
    pub name: String,
    /// Where Kafka is.
    pub brokers: String,
    /// Where Postgres is.
    pub database_url: String,
    /// The stand-in for Altinn.
    pub altinn: Arc<LocalAltinn>,
    /// The webhook receiver.
    pub receiver: Receiver,
    settings: BTreeMap<String, String>,
}

impl World {
    /// A world on the Kafka and Postgres that all tests share.
    pub async fn new(name: &str) -> Self {
        let stack = local_stack::shared().await;
        Self::on(name, stack.brokers(), stack.database_url()).await
    }

    /// A world on a Kafka and Postgres of its own, for tests that break them.
    pub async fn on(name: &str, brokers: String, database_url: String) -> Self {
        let altinn = local_altinn::start(Options::default()).await.unwrap();
        let name = format!("{name}_{}", std::process::id());
        let base = altinn.base_url.clone();
        let settings = [
            ("KAFKA_BROKERS", brokers.clone()),
            ("KAFKA_PREFIX", format!("{name}.")),
            ("TOPIC_PARTITIONS", "3".to_owned()),
            ("TOPIC_REPLICATION", "1".to_owned()),
            ("DATABASE_URL", database_url.clone()),
            ("DATABASE_SCHEMA", name.clone()),
            ("DATABASE_MAX_CONNECTIONS", "6".to_owned()),
            ("LISTEN", "127.0.0.1:0".to_owned()),
            ("ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            ("ALLOW_LOOPBACK_WEBHOOKS", "true".to_owned()),
            ("RETRY_DELAY_DIVISOR", "1000".to_owned()),
            ("OPENID_WELL_KNOWN_ENDPOINT", format!("{base}/authentication/api/v1/openid/")),
            (
                "PLATFORM_CERTIFICATES",
                format!("{base}/platform-certificates/{{issuer}}-access-token-public-cert"),
            ),
            ("AUTHORIZATION_API", format!("{base}/authorization/api/v1/")),
            ("REGISTER_API", format!("{base}/register/api/")),
        ];
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let altinn = Arc::new(altinn);
        Self { name, brokers, database_url, altinn, receiver: Receiver::start().await, settings }
    }

    /// Changes a setting for what is started afterwards.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// The settings as environment variables.
    pub fn environment(&self, services: &str) -> BTreeMap<String, String> {
        let mut settings = self.settings.clone();
        settings.insert("SERVICES".to_owned(), services.to_owned());
        settings
    }

    fn env(&self, services: &str) -> Env {
        let settings = self.environment(services);
        Env::from_pairs(settings.iter().map(|(name, value)| (name.as_str(), value.as_str())))
    }

    /// Starts services in this process and waits until they are ready.
    pub async fn start(&self, services: &str) -> Running {
        let settings = Settings::from_env(&self.env(services)).unwrap();
        let platform = Box::pin(Platform::start(settings)).await.unwrap();
        let running = Running { platform: Some(platform) };
        crate::wait::until("the services are ready", || async {
            let missing = running.platform().life.not_ready();
            if missing.is_empty() { Ok(()) } else { Err(missing.join(", ")) }
        })
        .await;
        running
    }

    /// A client with the test department's token and all scopes.
    pub fn client(&self, address: SocketAddr) -> Client {
        let scopes = ["altinn:events.publish", "altinn:events.subscribe", "altinn:serviceowner"];
        Client::new(address, self.altinn.enterprise_token(Some("ttd"), "991825827", &scopes))
    }

    /// A producer on this world's topics.
    pub fn producer(&self) -> Producer {
        Producer::new(&self.kafka()).unwrap()
    }

    /// This world's topics.
    pub fn kafka(&self) -> KafkaSettings {
        KafkaSettings::from_env(&self.env(ALL))
    }

    /// This world's tables.
    pub fn store(&self) -> Store {
        Store::connect(&StoreSettings::from_env(&self.env(ALL))).unwrap()
    }
}

/// Services in this process.
pub struct Running {
    platform: Option<Platform>,
}

impl Running {
    /// The platform.
    pub fn platform(&self) -> &Platform {
        self.platform.as_ref().unwrap()
    }

    /// Its public address.
    pub fn address(&self) -> SocketAddr {
        self.platform().public.unwrap()
    }

    /// The value of a metric, summed over its labels.
    pub fn metric(&self, name: &str) -> f64 {
        self.sum(name, |_| true)
    }

    /// The value of a metric, summed over the series that have a label of this value.
    pub fn metric_of(&self, name: &str, label: &str) -> f64 {
        self.sum(name, |metric| metric.get_label().iter().any(|pair| pair.value() == label))
    }

    fn sum(&self, name: &str, is_wanted: impl Fn(&Metric) -> bool) -> f64 {
        let families = self.platform().registry.gather();
        let metrics =
            families.iter().filter(|family| family.name() == name).flat_map(|family| family.get_metric());
        let value = |metric: &Metric| metric.get_counter().get_value() + metric.get_gauge().get_value();
        metrics.filter(|metric| is_wanted(metric)).map(value).sum()
    }

    /// Stops in order; fails the test when a part had died or had to be cut.
    pub async fn stop(mut self) {
        self.platform.take().unwrap().stop().await.unwrap();
    }
}

/// Carries out a statement that no service has.
pub async fn execute(store: &Store, statement: String) {
    store.execute_for_test(statement).await.unwrap();
}
