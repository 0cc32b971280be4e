//! What goes wrong with the database, by what its caller should do about it.

/// A statement was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database does not answer, is starting or stopping, or two transactions were in each other's way. Try again later.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// It cannot hold a value that it was given. Trying again is useless.
    #[error("the database cannot hold the data")]
    Data(#[source] sqlx::Error),
    /// The stored position is not the expected one: somebody else has written.
    #[error("the stored position is not the expected one")]
    Stale,
    /// The migrations did not run.
    #[error("the schema could not be brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A setting is wrong.
    #[error("the database settings are wrong: {0}")]
    Settings(String),
    /// Anything else: a defect of ours, or rights that are missing.
    #[error("the database refused a statement")]
    Refused(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same call may succeed later.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Data(_) | Self::Stale | Self::Migrate(_) | Self::Settings(_) | Self::Refused(_) => false,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let class = error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned());
        // No partition for the row: the rows are good, and the partitions are ours to make.
        let is_missing_partition = class.as_deref() == Some("23514")
            && error.as_database_error().is_some_and(|error| error.constraint().is_none());
        if is_missing_partition {
            return Self::Refused(error);
        }
        match class.as_deref().and_then(|code| code.get(..2)) {
            // Bad data, broken constraint, limit exceeded.
            Some("22" | "23" | "54") => Self::Data(error),
            // Connection, read-only standby, conflict, resources, operator intervention, system error, lock not available.
            Some("08" | "25" | "40" | "53" | "55" | "57" | "58" | "XX") => Self::Unavailable(error),
            Some(_) => Self::Refused(error),
            None => Self::without_code(error),
        }
    }
}

impl StoreError {
    fn without_code(error: sqlx::Error) -> Self {
        if matches!(error, sqlx::Error::Encode(_)) {
            return Self::Data(error);
        }
        let ours = matches!(
            error,
            sqlx::Error::RowNotFound
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::ColumnIndexOutOfBounds { .. }
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::TypeNotFound { .. }
        );
        if ours { Self::Refused(error) } else { Self::Unavailable(error) }
    }
}
