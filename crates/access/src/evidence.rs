//! Whether the PDP answers at all: what tells a broken policy from a broken PDP.
//!
//! A question that is indeterminate alone is evidence of nothing by itself. An answer to another one that came *since* shows that the
//! PDP works; without one the newest question that ever was answered is asked again. Answers from before prove nothing: the fault may have
//! begun after them. Everybody's answers count, and one question is kept.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use crate::question::Question;

/// What was seen of the PDP, by whoever asked it.
pub(crate) type Shared = Arc<Mutex<Evidence>>;

/// The newest answer. Times come from whoever notes it.
#[derive(Default)]
pub(crate) struct Evidence {
    /// The question that was answered, yes or no, and when.
    newest: Option<(Question, Instant)>,
}

impl Evidence {
    /// A question was answered, yes or no.
    pub(crate) fn answer(&mut self, question: &Question, now: Instant) {
        self.newest = Some((question.clone(), now));
    }

    /// Whether any was answered since.
    pub(crate) fn is_since(&self, then: Instant) -> bool {
        self.newest.as_ref().is_some_and(|(_, answered)| *answered >= then)
    }

    /// What to ask again.
    pub(crate) fn newest(&self) -> Option<Question> {
        self.newest.as_ref().map(|(question, _)| question.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use event::Event;

    use super::*;
    use crate::question;

    #[test]
    fn only_what_was_answered_since_shows_that_the_pdp_answers() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let event =
            r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","resource":"urn:altinn:resource:x"}"#;
        let question = question::push("/org/ttd", &Event::parse(event.as_bytes()).unwrap());
        let mut evidence = Evidence::default();
        assert!(!evidence.is_since(at(0)) && evidence.newest().is_none());
        evidence.answer(&question, at(1));
        assert!(evidence.is_since(at(0)) && evidence.is_since(at(1)));
        assert!(!evidence.is_since(at(2)), "what came before the fault proves nothing");
        assert_eq!(evidence.newest().map(|newest| newest.key()), Some(question.key()));
    }
}
