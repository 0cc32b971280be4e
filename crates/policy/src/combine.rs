//! Rule-combining algorithms (XACML 3.0 core appendix C).
//!
//! An algorithm sees decisions only, so each is a function that a table tests. All rules are evaluated, whatever their order, so
//! that obligations do not depend on it; `first-applicable` alone stops where the standard says.

use crate::policy::{Decision, Possible};

/// How the decisions of rules become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// C.2, C.3
    DenyOverrides,
    /// C.4, C.5
    PermitOverrides,
    /// C.6
    DenyUnlessPermit,
    /// C.7
    PermitUnlessDeny,
    /// C.8
    FirstApplicable,
    /// C.10, C.11: as C.2, and knows one kind of indeterminate only
    LegacyDenyOverrides,
    /// C.12, C.13: as C.4, and knows one kind of indeterminate only
    LegacyPermitOverrides,
}

impl Algorithm {
    /// The algorithm with this identifier.
    pub(crate) fn from_id(id: &str) -> Option<Self> {
        let (version, name) =
            id.strip_prefix("urn:oasis:names:tc:xacml:")?.split_once(":rule-combining-algorithm:")?;
        match (version, name) {
            ("3.0", "deny-overrides" | "ordered-deny-overrides") => Some(Self::DenyOverrides),
            ("3.0", "permit-overrides" | "ordered-permit-overrides") => Some(Self::PermitOverrides),
            ("3.0", "deny-unless-permit") => Some(Self::DenyUnlessPermit),
            ("3.0", "permit-unless-deny") => Some(Self::PermitUnlessDeny),
            ("1.0", "first-applicable") => Some(Self::FirstApplicable),
            ("1.0", "deny-overrides") | ("1.1", "ordered-deny-overrides") => Some(Self::LegacyDenyOverrides),
            ("1.0", "permit-overrides") | ("1.1", "ordered-permit-overrides") => {
                Some(Self::LegacyPermitOverrides)
            }
            (_, _) => None,
        }
    }

    /// Whether rules after one that applies are not even looked at.
    pub(crate) fn stops_at_the_first(self) -> bool {
        self == Self::FirstApplicable
    }

    /// The one decision.
    pub(crate) fn combine(self, decisions: &[Decision]) -> Decision {
        match self {
            Self::DenyOverrides => Seen::of(decisions).deny_overrides(),
            Self::PermitOverrides => Seen::of(decisions).mirrored().deny_overrides().mirrored(),
            Self::DenyUnlessPermit if decisions.contains(&Decision::Permit) => Decision::Permit,
            Self::DenyUnlessPermit => Decision::Deny,
            Self::PermitUnlessDeny if decisions.contains(&Decision::Deny) => Decision::Deny,
            Self::PermitUnlessDeny => Decision::Permit,
            Self::FirstApplicable => {
                let applies = |decision: &&Decision| **decision != Decision::NotApplicable;
                decisions.iter().find(applies).copied().unwrap_or(Decision::NotApplicable)
            }
            Self::LegacyDenyOverrides => Self::DenyOverrides.combine(decisions).of_one_kind(),
            Self::LegacyPermitOverrides => Self::PermitOverrides.combine(decisions).of_one_kind(),
        }
    }
}

/// Which decisions there are among those of the rules.
#[derive(Clone, Copy, Default)]
struct Seen {
    permit: bool,
    deny: bool,
    perhaps_permit: bool,
    perhaps_deny: bool,
    perhaps_either: bool,
}

impl Seen {
    fn of(decisions: &[Decision]) -> Self {
        let mut seen = Self::default();
        for decision in decisions {
            match decision {
                Decision::Permit => seen.permit = true,
                Decision::Deny => seen.deny = true,
                Decision::NotApplicable => {}
                Decision::Indeterminate(Possible::Permit) => seen.perhaps_permit = true,
                Decision::Indeterminate(Possible::Deny) => seen.perhaps_deny = true,
                Decision::Indeterminate(Possible::Either) => seen.perhaps_either = true,
            }
        }
        seen
    }

    /// With permit and deny exchanged: permit-overrides is deny-overrides in the mirror.
    fn mirrored(self) -> Self {
        Self {
            permit: self.deny,
            deny: self.permit,
            perhaps_permit: self.perhaps_deny,
            perhaps_deny: self.perhaps_permit,
            perhaps_either: self.perhaps_either,
        }
    }

    fn deny_overrides(self) -> Decision {
        if self.deny {
            Decision::Deny
        } else if self.perhaps_either || self.perhaps_deny && (self.perhaps_permit || self.permit) {
            Decision::Indeterminate(Possible::Either)
        } else if self.perhaps_deny {
            Decision::Indeterminate(Possible::Deny)
        } else if self.permit {
            Decision::Permit
        } else if self.perhaps_permit {
            Decision::Indeterminate(Possible::Permit)
        } else {
            Decision::NotApplicable
        }
    }
}

impl Decision {
    fn mirrored(self) -> Self {
        match self {
            Self::Permit => Self::Deny,
            Self::Deny => Self::Permit,
            Self::NotApplicable => Self::NotApplicable,
            Self::Indeterminate(Possible::Permit) => Self::Indeterminate(Possible::Deny),
            Self::Indeterminate(Possible::Deny) => Self::Indeterminate(Possible::Permit),
            Self::Indeterminate(Possible::Either) => Self::Indeterminate(Possible::Either),
        }
    }

    /// An algorithm that does not tell kinds of indeterminate apart means that both decisions are possible (§7.14, table 7).
    fn of_one_kind(self) -> Self {
        match self {
            Self::Indeterminate(_) => Self::Indeterminate(Possible::Either),
            Self::Permit | Self::Deny | Self::NotApplicable => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: Decision = Decision::Permit;
    const D: Decision = Decision::Deny;
    const N: Decision = Decision::NotApplicable;
    const IP: Decision = Decision::Indeterminate(Possible::Permit);
    const ID: Decision = Decision::Indeterminate(Possible::Deny);
    const IE: Decision = Decision::Indeterminate(Possible::Either);

    fn check(algorithm: Algorithm, cases: &[(&[Decision], Decision)]) {
        for (decisions, expected) in cases {
            assert_eq!(algorithm.combine(decisions), *expected, "{algorithm:?} of {decisions:?}");
        }
    }

    #[test]
    fn deny_overrides_is_the_table_of_c_2() {
        let cases: [(&[Decision], Decision); 14] = [
            (&[], N),
            (&[N, N], N),
            (&[P, N], P),
            (&[P, D], D),
            (&[IE, IP, P, D], D),
            (&[IE, P], IE),
            (&[IE, ID], IE),
            (&[ID, IP], IE),
            (&[ID, P], IE),
            (&[ID, N], ID),
            (&[P, IP], P),
            (&[IP, N], IP),
            (&[D, ID], D),
            (&[IP, ID, P], IE),
        ];
        check(Algorithm::DenyOverrides, &cases);
    }

    #[test]
    fn permit_overrides_is_the_table_of_c_4() {
        let cases: [(&[Decision], Decision); 12] = [
            (&[], N),
            (&[D, P], P),
            (&[IE, ID, D, P], P),
            (&[IE, D], IE),
            (&[IP, ID], IE),
            (&[IP, D], IE),
            (&[IP, N], IP),
            (&[D, ID], D),
            (&[D, N], D),
            (&[ID, N], ID),
            (&[P, IP], P),
            (&[N], N),
        ];
        check(Algorithm::PermitOverrides, &cases);
    }

    #[test]
    fn the_unless_forms_never_fail_and_always_apply() {
        let unless_permit: [(&[Decision], Decision); 4] =
            [(&[], D), (&[N, IE, IP], D), (&[D, P], P), (&[IP, D], D)];
        check(Algorithm::DenyUnlessPermit, &unless_permit);
        let unless_deny: [(&[Decision], Decision); 4] =
            [(&[], P), (&[N, IE, ID], P), (&[D, P], D), (&[ID, P], P)];
        check(Algorithm::PermitUnlessDeny, &unless_deny);
    }

    #[test]
    fn first_applicable_takes_the_first_that_is_not_not_applicable() {
        let cases: [(&[Decision], Decision); 5] =
            [(&[], N), (&[N, P, D], P), (&[N, D, P], D), (&[IP, P], IP), (&[N], N)];
        check(Algorithm::FirstApplicable, &cases);
    }

    #[test]
    fn the_old_forms_know_one_kind_of_indeterminate() {
        let deny: [(&[Decision], Decision); 6] =
            [(&[ID, P], IE), (&[ID], IE), (&[IP, P], P), (&[IP], IE), (&[P, D], D), (&[N], N)];
        check(Algorithm::LegacyDenyOverrides, &deny);
        let permit: [(&[Decision], Decision); 5] =
            [(&[IP, D], IE), (&[IP], IE), (&[ID, D], D), (&[ID], IE), (&[P, D], P)];
        check(Algorithm::LegacyPermitOverrides, &permit);
    }

    #[test]
    fn the_order_of_rules_never_matters_where_the_standard_says_so() {
        let all = [P, D, N, IP, ID, IE];
        for algorithm in
            [Algorithm::DenyOverrides, Algorithm::PermitOverrides, Algorithm::LegacyDenyOverrides]
        {
            for a in all {
                for b in all {
                    for c in all {
                        let expected = algorithm.combine(&[a, b, c]);
                        for order in [[a, c, b], [b, a, c], [b, c, a], [c, a, b], [c, b, a]] {
                            assert_eq!(algorithm.combine(&order), expected, "{algorithm:?} of {order:?}");
                        }
                    }
                }
            }
        }
    }
}
