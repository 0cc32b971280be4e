//! What access counts.

use service::prometheus::{self, IntCounter, IntCounterVec, Opts, Registry};

use crate::outcome::Decision;

/// The series of this crate. Clones count together.
#[derive(Clone)]
pub(crate) struct AccessMetrics {
    decisions: IntCounterVec,
    /// Requests to the PDP.
    pub(crate) pdp_requests: IntCounter,
    /// Requests to the PDP without a usable answer.
    pub(crate) pdp_failures: IntCounter,
    /// Questions that were indeterminate alone.
    pub(crate) indeterminate: IntCounter,
    /// Reads, publishes and subscriptions that were refused although the PDP did not say no.
    pub(crate) indeterminate_refusals: IntCounter,
    /// Tokens that did not count.
    pub(crate) refused_tokens: IntCounter,
}

impl AccessMetrics {
    pub(crate) fn new() -> Self {
        let counter = |name: &str, help: &str| {
            IntCounter::new(name, help).expect("the names of metrics are valid by the test below")
        };
        let decisions =
            Opts::new("access_decisions_total", "Decisions about rights, remembered ones included.");
        Self {
            decisions: IntCounterVec::new(decisions, &["decision"])
                .expect("the names of metrics are valid by the test below"),
            pdp_requests: counter("access_pdp_requests_total", "Requests sent to the PDP."),
            pdp_failures: counter(
                "access_pdp_failures_total",
                "Requests to the PDP without a usable answer.",
            ),
            indeterminate: counter(
                "access_indeterminate_total",
                "Questions to which the PDP said neither yes nor no, also when they were asked alone.",
            ),
            indeterminate_refusals: counter(
                "access_indeterminate_refusals_total",
                "Reads, publishes and subscriptions refused because the PDP answers others, but about this says neither \
                 yes nor no: a policy is broken.",
            ),
            refused_tokens: counter(
                "access_refused_tokens_total",
                "Tokens that were sent and did not count.",
            ),
        }
    }

    pub(crate) fn count(&self, decisions: &[Decision]) {
        for decision in [Decision::Permit, Decision::Refuse, Decision::Unknown] {
            let number = decisions.iter().filter(|known| **known == decision).count();
            if number > 0 {
                let label = match decision {
                    Decision::Permit => "permit",
                    Decision::Refuse => "refuse",
                    Decision::Unknown => "unknown",
                };
                self.decisions.with_label_values(&[label]).inc_by(number as u64);
            }
        }
    }

    pub(crate) fn register(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        registry.register(Box::new(self.decisions.clone()))?;
        for counter in [
            &self.pdp_requests,
            &self.pdp_failures,
            &self.indeterminate,
            &self.indeterminate_refusals,
            &self.refused_tokens,
        ] {
            registry.register(Box::new(counter.clone()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_has_its_name_and_counts_what_it_says() {
        let (metrics, registry) = (AccessMetrics::new(), Registry::new());
        metrics.register(&registry).unwrap();
        metrics.count(&[Decision::Permit, Decision::Permit, Decision::Unknown]);
        metrics.indeterminate.inc();
        let families = registry.gather();
        let names: Vec<_> = families.iter().map(|family| family.name().to_owned()).collect();
        assert_eq!(
            names,
            [
                "access_decisions_total",
                "access_indeterminate_refusals_total",
                "access_indeterminate_total",
                "access_pdp_failures_total",
                "access_pdp_requests_total",
                "access_refused_tokens_total",
            ]
        );
        assert_eq!(metrics.decisions.with_label_values(&["permit"]).get(), 2);
        assert_eq!(metrics.decisions.with_label_values(&["unknown"]).get(), 1);
        assert_eq!(metrics.decisions.with_label_values(&["refuse"]).get(), 0);
    }
}
