//! What the PDP said, and what that is for the one who asked. Pure.
//!
//! *Indeterminate* is neither yes nor no: the real PDP answers it when it has a fault, and when a policy is broken. A delivery can
//! wait, so for it that is no answer, whatever else is answered. A caller cannot be held up by one broken policy: for it a question that is
//! indeterminate alone is a refusal, but only where another question was answered since. Where all is indeterminate the PDP is broken,
//! and nobody may take that for a no.

/// May it be done?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, now.
    Permit,
    /// No: denied, not applicable, the authentication level is too low, or, for a caller, about this alone nobody can tell.
    Refuse,
    /// Nobody answered. Not a no: stop before the event, answer 503, or put it back.
    Unknown,
}

/// What the answer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody reads a feed.
    Read,
    /// Somebody publishes.
    Publish,
    /// Somebody subscribes.
    Subscribe,
    /// An event is delivered: at match and at push.
    Deliver,
}

impl Purpose {
    /// Whether somebody waits for the answer and cannot come back with the same question for days.
    pub(crate) const fn is_for_a_caller(self) -> bool {
        match self {
            Self::Read | Self::Publish | Self::Subscribe => true,
            Self::Deliver => false,
        }
    }
}

/// The caller's authentication level, where obligations count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) value: u8,
    /// Whether the caller is a service owner, for whom an obligation of its own may relax the general one.
    pub(crate) is_org: bool,
}

/// Least authentication levels that a permit asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Obligations {
    pub(crate) level: Option<u8>,
    /// Suffices for service owners where `level` is not reached: it only relaxes (contract §3.6).
    pub(crate) level_org: Option<u8>,
}

impl Obligations {
    fn are_met(self, level: Level) -> bool {
        self.level.is_none_or(|least| level.value >= least)
            || (level.is_org && self.level_org.is_some_and(|least| level.value >= least))
    }
}

/// What the PDP said about one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Permit(Obligations),
    /// Denied, or not applicable.
    Refuse,
    /// Alone, too.
    Indeterminate {
        /// Whether another question was answered since.
        beside_answers: bool,
    },
    Unknown,
}

impl Outcome {
    /// Yes or no.
    pub(crate) const fn is_answer(self) -> bool {
        match self {
            Self::Permit(_) | Self::Refuse => true,
            Self::Indeterminate { .. } | Self::Unknown => false,
        }
    }

    pub(crate) const fn is_indeterminate(self) -> bool {
        match self {
            Self::Indeterminate { .. } => true,
            Self::Permit(_) | Self::Refuse | Self::Unknown => false,
        }
    }

    /// The decision for an purpose. Obligations count only where the question carries a level.
    pub(crate) fn decision_for(self, purpose: Purpose, level: Option<Level>) -> Decision {
        match self {
            Self::Permit(obligations) if level.is_none_or(|level| obligations.are_met(level)) => {
                Decision::Permit
            }
            Self::Permit(_) | Self::Refuse => Decision::Refuse,
            Self::Indeterminate { beside_answers } if beside_answers && purpose.is_for_a_caller() => {
                Decision::Refuse
            }
            Self::Indeterminate { .. } | Self::Unknown => Decision::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obligations_are_compared_with_each_level_and_that_of_service_owners_only_relaxes() {
        let permit = |level, level_org| Outcome::Permit(Obligations { level, level_org });
        let at = |value, is_org| Some(Level { value, is_org });
        for (outcome, level, expected) in [
            (permit(None, None), at(0, false), Decision::Permit),
            (permit(Some(3), None), at(2, false), Decision::Refuse),
            (permit(Some(3), None), at(3, false), Decision::Permit),
            (permit(Some(3), None), None, Decision::Permit),
            (permit(Some(3), Some(4)), at(3, true), Decision::Permit),
            (permit(Some(3), Some(2)), at(2, true), Decision::Permit),
            (permit(Some(3), Some(2)), at(1, true), Decision::Refuse),
            (permit(Some(3), Some(2)), at(2, false), Decision::Refuse),
            (permit(Some(3), None), at(2, true), Decision::Refuse),
            (permit(None, Some(4)), at(0, true), Decision::Permit),
            (Outcome::Refuse, at(4, true), Decision::Refuse),
            (Outcome::Unknown, at(4, true), Decision::Unknown),
        ] {
            assert_eq!(outcome.decision_for(Purpose::Read, level), expected, "{outcome:?} {level:?}");
        }
    }

    #[test]
    fn indeterminate_is_a_no_for_callers_alone_and_only_beside_answers() {
        let callers = [Purpose::Read, Purpose::Publish, Purpose::Subscribe];
        for (beside_answers, of_caller) in [(true, Decision::Refuse), (false, Decision::Unknown)] {
            let outcome = Outcome::Indeterminate { beside_answers };
            for caller in callers {
                assert_eq!(outcome.decision_for(caller, None), of_caller, "{caller:?} {beside_answers}");
            }
            assert_eq!(outcome.decision_for(Purpose::Deliver, None), Decision::Unknown);
        }
        for (outcome, expected) in
            [(Outcome::Refuse, Decision::Refuse), (Outcome::Unknown, Decision::Unknown)]
        {
            for purpose in callers.into_iter().chain([Purpose::Deliver]) {
                assert_eq!(outcome.decision_for(purpose, None), expected, "{purpose:?}");
            }
        }
    }
}
