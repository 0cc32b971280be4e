//! Connections, migrations, and whether the database is there.

use std::{future::Future, str::FromStr, sync::Arc, time::Duration};

use service::env::Env;
use sqlx::{
    Connection, PgPool,
    migrate::Migrator,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::{error::StoreError, identities::ClosedIdentities};

static MIGRATIONS: Migrator = sqlx::migrate!("../../schemas/postgres");

/// Longest wait for an answer, above the server's own limit: a connection whose other end is gone without a word.
const ANSWER: Duration = Duration::from_secs(40);
/// What the server gives a statement that a client waits for, and how long its answer is waited for.
const READ_STATEMENT: &str = "3s";
const READ_ANSWER: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is asked whether it still lives before it is used.
const IDLE: Duration = Duration::from_secs(1);

/// What every connection is set to, besides the schema.
const SESSION: [(&str, &str); 7] = [
    ("statement_timeout", "30s"),
    ("lock_timeout", "10s"),
    ("idle_in_transaction_session_timeout", "30s"),
    ("jit", "off"),
    // A page is planned once a connection, not at every call, which takes longer than reading it. That is safe because each
    // statement has one index that it can sensibly use; these two see to it that a plan made while a table was empty uses it.
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_sort", "off"),
];

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// The schema that holds our tables.
    pub schema: String,
    /// Most connections of this process.
    pub max_connections: u32,
    /// Longest wait for a free connection.
    pub acquire_timeout: Duration,
    /// Sequence numbers an events partition holds; only read when the schema is made.
    pub partition_size: i64,
}

impl StoreSettings {
    /// `DATABASE_URL`, `DATABASE_SCHEMA`, `DATABASE_MAX_CONNECTIONS`, `DATABASE_ACQUIRE_TIMEOUT_MS`, `EVENTS_PARTITION_SIZE`.
    pub fn from_env(env: &Env) -> Self {
        const LOCAL: &str = "postgres://postgres@127.0.0.1:5432/postgres";
        let url = env.secret("DATABASE_URL").unwrap_or_else(|| LOCAL.to_owned());
        if PgConnectOptions::from_str(&url).is_err() {
            env.mistake(
                "DATABASE_URL",
                "is not a Postgres URL; example: postgres://user:password@host:5432/database",
            );
        }
        let schema = env.text("DATABASE_SCHEMA", "altinn_events");
        if !is_plain_name(&schema) {
            env.mistake(
                "DATABASE_SCHEMA",
                "is not a name of lower-case letters, digits and _; example: altinn_events",
            );
        }
        let settings = Self {
            url,
            schema,
            max_connections: env.parsed("DATABASE_MAX_CONNECTIONS", "a whole number from 2", "16"),
            acquire_timeout: env.duration_ms("DATABASE_ACQUIRE_TIMEOUT_MS", 3_000),
            partition_size: env.parsed("EVENTS_PARTITION_SIZE", "a whole number from 1", "10000000"),
        };
        if settings.max_connections < 2 {
            env.mistake("DATABASE_MAX_CONNECTIONS", "must be at least 2; example: 16");
        }
        if settings.partition_size < 1 {
            env.mistake("EVENTS_PARTITION_SIZE", "must be at least 1; example: 10000000");
        }
        settings
    }
}

fn is_plain_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    first
        && name.len() <= 63
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// The database. Clones share one pool.
#[derive(Clone)]
pub struct Store {
    pub(crate) pool: PgPool,
    pub(crate) closed: Arc<ClosedIdentities>,
    /// Longest wait for an answer.
    patience: Duration,
    schema: String,
    partition_size: i64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Store {
    /// A pool that connects when it is first used.
    ///
    /// # Errors
    /// [`StoreError::Settings`] when the URL or the schema's name cannot be used.
    pub fn connect(settings: &StoreSettings) -> Result<Self, StoreError> {
        Self::connect_with(settings, ANSWER, &[])
    }

    /// A pool of its own for those who ask while a client waits: the server gives up a statement after three seconds.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub fn connect_for_reads(settings: &StoreSettings) -> Result<Self, StoreError> {
        Self::connect_with(settings, READ_ANSWER, &[("statement_timeout", READ_STATEMENT)])
    }

    fn connect_with(
        settings: &StoreSettings,
        patience: Duration,
        session: &[(&str, &str)],
    ) -> Result<Self, StoreError> {
        if !is_plain_name(&settings.schema) {
            return Err(StoreError::Settings(format!("`{}` cannot be a schema", settings.schema)));
        }
        let options = PgConnectOptions::from_str(&settings.url)
            .map_err(|_| StoreError::Settings("DATABASE_URL is not a Postgres URL".to_owned()))?
            .application_name("altinn-events")
            .options([("search_path", settings.schema.as_str())])
            .options(SESSION)
            .options(session.iter().copied());
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move {
                    if state.idle_for > IDLE {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        let closed = Arc::new(ClosedIdentities::default());
        Ok(Self {
            pool,
            closed,
            patience,
            schema: settings.schema.clone(),
            partition_size: settings.partition_size,
        })
    }

    /// Brings the schema up to date, under a lock; safe to repeat and to run from many processes. Takes as long as it takes.
    ///
    /// # Errors
    /// [`StoreError::Migrate`] or [`StoreError::Unavailable`].
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        sqlx::query(include_str!("../sql/without_limits.sql")).execute(&mut *connection).await?;
        // Not a statement of ours to prepare: the schema has to be there first. Its name was checked.
        let create = sqlx::AssertSqlSafe(format!("create schema if not exists {}", self.schema));
        if let Err(error) = sqlx::query(create).execute(&mut *connection).await {
            let code = error.as_database_error().and_then(|error| error.code());
            // Two processes at once: the other one made it.
            if !matches!(code.as_deref(), Some("23505" | "42P06")) {
                return Err(error.into());
            }
        }
        // `run`, which does the same, gives a future that cannot move between threads.
        MIGRATIONS.run_direct(None, &mut *connection, false).await.map_err(|error| {
            if let sqlx::migrate::MigrateError::Execute(error) = error {
                error.into()
            } else {
                StoreError::Migrate(error)
            }
        })?;
        sqlx::query(include_str!("../sql/head_create.sql"))
            .bind(self.partition_size)
            .execute(&mut *connection)
            .await?;
        // It has lost its limits.
        connection.close().await?;
        self.ensure_partitions().await
    }

    /// Whether the database answers a query within `wait`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn answers(&self, wait: Duration) -> Result<(), StoreError> {
        let one = sqlx::query(include_str!("../sql/one.sql")).execute(&self.pool);
        match tokio::time::timeout(wait, one).await {
            Ok(answer) => answer.map(|_| ()).map_err(StoreError::from),
            Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
        }
    }

    /// Carries out any statement, for tests that break things.
    ///
    /// # Errors
    /// What the database says.
    #[doc(hidden)]
    pub async fn execute_for_test(&self, statement: String) -> Result<(), StoreError> {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&self.pool).await?;
        Ok(())
    }

    /// The numbers that any statement gives, for tests that look at tables.
    ///
    /// # Errors
    /// What the database says.
    #[doc(hidden)]
    pub async fn numbers_for_test(&self, statement: String) -> Result<Vec<i64>, StoreError> {
        Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(statement)).fetch_all(&self.pool).await?)
    }

    /// The pool itself, for benchmarks that compare with bare SQL and for tests that look at tables.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

impl Store {
    /// The work's result, or [`StoreError::Unavailable`] when none came in time.
    pub(crate) async fn answered<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        answered(self.patience, work).await
    }
}

async fn answered<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(patience, work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::Unavailable(sqlx::Error::PoolTimedOut)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_database_that_never_answers_is_told_as_unavailable() {
        let silent = answered(ANSWER, std::future::pending::<Result<(), StoreError>>()).await;
        assert!(matches!(silent, Err(StoreError::Unavailable(_))), "{silent:?}");
    }
}
