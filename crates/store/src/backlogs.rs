//! Endpoints that are slower than their events. Written by dispatchers, read by them and by whoever shows a subscription.

use std::{collections::HashMap, time::Duration};

use sqlx::Row;

use crate::{error::StoreError, pool::Store};

/// The longest time until a backlog is done that is told.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3_600);

/// What was put back for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EndpointBacklog {
    /// Deliveries that were put back and have not come again.
    pub deliveries: i64,
    /// How long all that it has to do will take it.
    pub takes: Duration,
}

impl Store {
    /// Writes backlogs; those without deliveries are over.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn write_backlogs(&self, backlogs: &[(&str, EndpointBacklog)]) -> Result<(), StoreError> {
        let (there, over): (Vec<_>, Vec<_>) =
            backlogs.iter().partition(|(_, backlog)| backlog.deliveries > 0);
        let seconds = |backlog: &EndpointBacklog| backlog.takes.min(LONGEST).as_secs_f64();
        let write = sqlx::query(include_str!("../sql/backlog_write.sql"))
            .bind(there.iter().map(|(endpoint, _)| *endpoint).collect::<Vec<&str>>())
            .bind(there.iter().map(|(_, backlog)| backlog.deliveries).collect::<Vec<i64>>())
            .bind(there.iter().map(|(_, backlog)| seconds(backlog)).collect::<Vec<f64>>())
            .bind(over.iter().map(|(endpoint, _)| *endpoint).collect::<Vec<&str>>())
            .execute(&self.pool);
        self.answered(async { Ok(write.await.map(|_| ())?) }).await
    }

    /// The backlogs of these endpoints, as they will be by now: who wrote them may be gone, and then they shrink at the last pace.
    /// One that must be done by now is not there.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn backlogs_of(
        &self,
        endpoints: &[String],
    ) -> Result<HashMap<String, EndpointBacklog>, StoreError> {
        let rows = sqlx::query(include_str!("../sql/backlog_read.sql")).bind(endpoints).fetch_all(&self.pool);
        let rows = self.answered(async { Ok(rows.await?) }).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, left(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))))
            .collect()
    }
}

/// What is left of `deliveries` that were to take `whole` seconds, when `rest` seconds are left.
fn left(deliveries: i64, whole: f64, rest: f64) -> EndpointBacklog {
    let part = if whole > 0.0 { (rest / whole).clamp(0.0, 1.0) } else { 0.0 };
    let deliveries = ((deliveries as f64 * part).ceil() as i64).max(1);
    EndpointBacklog { deliveries, takes: Duration::try_from_secs_f64(rest).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_writes_any_more_shrinks_at_the_last_pace() {
        let of = |rest| left(1_000, 100.0, rest);
        let second = Duration::from_secs(1);
        assert_eq!(of(100.0), EndpointBacklog { deliveries: 1_000, takes: 100 * second });
        assert_eq!(of(25.0), EndpointBacklog { deliveries: 250, takes: 25 * second });
        assert_eq!(of(0.001).deliveries, 1);
    }
}
