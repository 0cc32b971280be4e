//! Every setting of a process, read once; all mistakes are reported together.

use std::{collections::BTreeSet, net::SocketAddr, str::FromStr};

use access::AccessSettings;
use kafka_loop::{KafkaSettings, admin::TopicOverrides};
use service::{
    doors::DoorSettings,
    env::{ConfigError, Env, Setting},
};
use store::StoreSettings;

/// One of the four services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Service {
    /// HTTP → Kafka.
    Ingest,
    /// Kafka → Postgres.
    Projector,
    /// Kafka → webhooks.
    Dispatcher,
    /// Postgres → HTTP.
    QueryApi,
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.trim() {
            "ingest" => Ok(Self::Ingest),
            "projector" => Ok(Self::Projector),
            "dispatcher" => Ok(Self::Dispatcher),
            "query-api" => Ok(Self::QueryApi),
            other => Err(format!("`{other}` is none of ingest, projector, dispatcher, query-api")),
        }
    }
}

/// A set of services, written with commas between the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services(pub BTreeSet<Service>);

impl FromStr for Services {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::parse).collect::<Result<BTreeSet<Service>, _>>().map(Self)
    }
}

impl Services {
    /// Whether this one is in the set.
    pub fn has(&self, service: Service) -> bool {
        self.0.contains(&service)
    }

    /// Whether any of the set answers HTTP.
    pub fn has_http(&self) -> bool {
        self.has(Service::Ingest) || self.has(Service::QueryApi)
    }

    /// Whether any of the set asks who calls or what may be done.
    pub fn has_access(&self) -> bool {
        self.0.iter().any(|service| *service != Service::Projector)
    }

    /// Whether any of the set needs Postgres; ingest never connects to it.
    pub fn has_store(&self) -> bool {
        self.0.iter().any(|service| *service != Service::Ingest)
    }
}

/// Everything a process needs to know.
pub struct Settings {
    /// Which services run here.
    pub services: Services,
    /// The public address.
    pub listen: SocketAddr,
    /// The address of `/livez`, `/readyz`, `/metrics`.
    pub admin_listen: SocketAddr,
    /// The bounds of the public port.
    pub doors: DoorSettings,
    /// Whether to run the migrations at start.
    pub migrate: bool,
    /// Whether to create or check the topics at start.
    pub topics: bool,
    /// What differs from `schemas/topics.toml` on this cluster.
    pub topic_overrides: TopicOverrides,
    /// The log.
    pub kafka: KafkaSettings,
    /// The database.
    pub store: StoreSettings,
    /// Tokens, decisions, parties.
    pub access: AccessSettings,
    /// ingest's own.
    pub ingest: ingest::Config,
    /// projector's own.
    pub projector: projector::Config,
    /// dispatcher's own.
    pub dispatcher: dispatcher::Config,
    /// query-api's own.
    pub query_api: query_api::Config,
    /// As read, for the start line and the table in the docs.
    pub table: Vec<Setting>,
}

impl Settings {
    /// Reads every setting of what production runs: whom we believe must be named.
    ///
    /// # Errors
    /// [`ConfigError`] with all mistakes.
    pub fn for_run(env: &Env) -> Result<Self, ConfigError> {
        let settings = Self::read(env);
        if settings.services.has_access() {
            settings.access.demand_addresses(env);
        }
        env.finish()?;
        Ok(settings)
    }

    /// Reads every setting.
    ///
    /// # Errors
    /// [`ConfigError`] with all mistakes.
    pub fn from_env(env: &Env) -> Result<Self, ConfigError> {
        let settings = Self::read(env);
        env.finish()?;
        Ok(settings)
    }

    fn read(env: &Env) -> Self {
        let partitions: i32 =
            env.parsed("TOPIC_PARTITIONS", "partitions of every topic, 0 for each topic's own", "0");
        let replication: i32 = env.parsed("TOPIC_REPLICATION", "replicas of every topic, at least 1", "3");
        if replication < 1 {
            env.mistake("TOPIC_REPLICATION", "must be at least 1; example: 3");
        }
        let access = AccessSettings::from_env(env);
        Self {
            services: env.parsed(
                "SERVICES",
                "names of services with commas between them",
                "ingest,projector,dispatcher,query-api",
            ),
            listen: env.parsed("LISTEN", "address:port", "127.0.0.1:5080"),
            admin_listen: env.parsed("ADMIN_LISTEN", "address:port", "127.0.0.1:5081"),
            migrate: env.flag("MIGRATE_AT_START", true),
            topics: env.flag("TOPICS_AT_START", true),
            topic_overrides: TopicOverrides {
                partitions: (partitions > 0).then_some(partitions),
                replication: Some(replication),
            },
            kafka: KafkaSettings::from_env(env),
            store: StoreSettings::from_env(env),
            doors: DoorSettings::from_env(env, &access.trusted_proxies),
            access,
            ingest: ingest::Config::from_env(env),
            projector: projector::Config::from_env(env),
            dispatcher: dispatcher::Config::from_env(env),
            query_api: query_api::Config::from_env(env),
            table: env.table(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_production_runs_names_whom_we_believe() {
        let mistakes = |services: &'static str| {
            let env = Env::from_pairs([("SERVICES", services)]);
            Settings::for_run(&env).err().map_or(0, |error| error.0.len())
        };
        for services in ["ingest", "dispatcher", "query-api", "ingest,projector,dispatcher,query-api"] {
            assert_eq!(mistakes(services), 4, "{services}");
        }
        assert_eq!(mistakes("projector"), 0);
    }

    #[test]
    fn a_service_that_does_not_exist_is_a_mistake_with_the_names_that_do() {
        let env = Env::from_pairs([("SERVICES", "ingest,printer"), ("LISTEN", "nowhere")]);
        let Err(ConfigError(mistakes)) = Settings::from_env(&env) else { panic!("it was accepted") };
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
    }
}
