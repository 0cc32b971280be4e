//! What is measured, in the order in which an event meets it.

mod crash;
mod feed;
mod ingest;
mod latency;
mod matching;
mod projector;
mod push;

use crate::{report::Row, world::Bench};

/// How often the two sides of a row alternate.
const ROUNDS: usize = 3;

/// Rows that are measured together.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Group {
    Ingest,
    Projector,
    Feed,
    Match,
    Push,
    Latency,
    Crash,
}

impl Group {
    pub(crate) const ALL: [Self; 7] =
        [Self::Ingest, Self::Projector, Self::Feed, Self::Match, Self::Push, Self::Latency, Self::Crash];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Projector => "projector",
            Self::Feed => "feed",
            Self::Match => "match",
            Self::Push => "push",
            Self::Latency => "latency",
            Self::Crash => "crash",
        }
    }

    pub(crate) async fn measure(self, bench: &Bench) -> anyhow::Result<Vec<Row>> {
        match self {
            Self::Ingest => Box::pin(ingest::measure(bench)).await,
            Self::Projector => Box::pin(projector::measure(bench)).await,
            Self::Feed => Box::pin(feed::measure(bench)).await,
            Self::Match => matching::measure(),
            Self::Push => Box::pin(push::measure(bench)).await,
            Self::Latency => Box::pin(latency::measure(bench)).await,
            Self::Crash => Box::pin(crash::measure(bench)).await,
        }
    }
}

/// The rounds of a row: both sides, and the CPU seconds of each for 10,000 units of work.
#[derive(Debug, Default)]
struct Rounds {
    ours: Vec<f64>,
    limit: Vec<f64>,
    ours_cpu: Vec<f64>,
    limit_cpu: Vec<f64>,
}

impl Rounds {
    fn row(&self, name: &str, unit: &str) -> Row {
        Row::beside(name, unit, &self.ours, &self.limit).cpu(&self.ours_cpu, &self.limit_cpu)
    }
}

/// CPU seconds since `before`, for 10,000 of so many units of work.
fn cpu_since(before: crate::cpu::Used, units: f64) -> f64 {
    (crate::cpu::used().all - before.all) / units * 10_000.0
}
