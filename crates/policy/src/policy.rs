//! Policies, rules, and the decisions they come to (XACML 3.0 core §7.10 to §7.14).

use crate::{
    combine::Algorithm,
    error::PolicyError,
    expression::{Expression, Failure},
    obligation::{self, Obligation, ObligationExpression},
    read,
    request::Request,
    target::Target,
};

/// What a rule, and a policy, comes to (XACML 3.0 core §7.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is allowed.
    Permit,
    /// It is forbidden.
    Deny,
    /// Nothing is said about it.
    NotApplicable,
    /// It cannot be told; these decisions would have been possible.
    Indeterminate(Possible),
}

impl Decision {
    /// Its name in a response, which does not tell what would have been possible (XACML 3.0 core §5.53).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permit => "Permit",
            Self::Deny => "Deny",
            Self::NotApplicable => "NotApplicable",
            Self::Indeterminate(_) => "Indeterminate",
        }
    }
}

/// The decisions that an indeterminate one could have been (XACML 3.0 core §7.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Possible {
    /// `Indeterminate{P}`
    Permit,
    /// `Indeterminate{D}`
    Deny,
    /// `Indeterminate{DP}`
    Either,
}

/// What a rule is for (XACML 3.0 core §5.22).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// To permit.
    Permit,
    /// To deny.
    Deny,
}

impl Effect {
    const fn decision(self) -> Decision {
        match self {
            Self::Permit => Decision::Permit,
            Self::Deny => Decision::Deny,
        }
    }

    const fn indeterminate(self) -> Decision {
        match self {
            Self::Permit => Decision::Indeterminate(Possible::Permit),
            Self::Deny => Decision::Indeterminate(Possible::Deny),
        }
    }
}

/// The answer of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The decision.
    pub decision: Decision,
    /// What goes with it; only permits and denials have any.
    pub obligations: Vec<Obligation>,
    /// Why it is indeterminate: the first failure in the order of the policy.
    pub failure: Option<Failure>,
}

impl Outcome {
    const NOT_APPLICABLE: Self =
        Self { decision: Decision::NotApplicable, obligations: Vec::new(), failure: None };

    fn failed(decision: Decision, failure: Option<Failure>) -> Self {
        Self { decision, obligations: Vec::new(), failure }
    }
}

/// A policy that was read and can be evaluated exactly (XACML 3.0 core §5.14).
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) id: String,
    pub(crate) target: Target,
    pub(crate) algorithm: Algorithm,
    pub(crate) rules: Vec<Rule>,
    pub(crate) obligations: Vec<ObligationExpression>,
}

/// A rule (XACML 3.0 core §5.21).
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    pub(crate) effect: Effect,
    pub(crate) target: Target,
    pub(crate) condition: Option<Expression>,
    pub(crate) obligations: Vec<ObligationExpression>,
}

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// When the text is not XML, has a document type or entities of its own, is beyond a bound, or holds anything that could not
    /// be evaluated exactly. The error names the element.
    pub fn parse(xml: &str) -> Result<Self, PolicyError> {
        read::policy(xml)
    }

    /// Its identifier.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its answer to a request (§7.12, §7.14).
    pub fn evaluate(&self, request: &Request) -> Outcome {
        let target = self.target.matches(request);
        if target == Ok(false) {
            return Outcome::NOT_APPLICABLE;
        }
        let combined = self.combined(request);
        match target {
            Ok(_) => combined,
            Err(failure) => under_an_indeterminate_target(combined.decision, failure),
        }
    }

    fn combined(&self, request: &Request) -> Outcome {
        let mut outcomes = Vec::new();
        for rule in &self.rules {
            let outcome = rule.evaluate(request);
            let applies = outcome.decision != Decision::NotApplicable;
            outcomes.push(outcome);
            if applies && self.algorithm.stops_at_the_first() {
                break;
            }
        }
        let decisions: Vec<_> = outcomes.iter().map(|outcome| outcome.decision).collect();
        let decision = self.algorithm.combine(&decisions);
        match decision {
            Decision::Permit => self.decided(Effect::Permit, outcomes, request),
            Decision::Deny => self.decided(Effect::Deny, outcomes, request),
            Decision::NotApplicable => Outcome::NOT_APPLICABLE,
            Decision::Indeterminate(_) => {
                Outcome::failed(decision, outcomes.into_iter().find_map(|outcome| outcome.failure))
            }
        }
    }

    /// Obligations of the rules that decided the same, then those of the policy (§7.18).
    fn decided(&self, effect: Effect, outcomes: Vec<Outcome>, request: &Request) -> Outcome {
        let decision = effect.decision();
        match obligation::evaluate(&self.obligations, effect, request) {
            Ok(own) => {
                let agreeing = outcomes.into_iter().filter(|outcome| outcome.decision == decision);
                let obligations = agreeing.flat_map(|outcome| outcome.obligations).chain(own).collect();
                Outcome { decision, obligations, failure: None }
            }
            Err(failure) => Outcome::failed(effect.indeterminate(), Some(failure)),
        }
    }
}

/// What a policy comes to when it is not known whether it is about the request (§7.14, table 7).
fn under_an_indeterminate_target(combined: Decision, failure: Failure) -> Outcome {
    match combined {
        Decision::NotApplicable => Outcome::NOT_APPLICABLE,
        Decision::Permit => Outcome::failed(Effect::Permit.indeterminate(), Some(failure)),
        Decision::Deny => Outcome::failed(Effect::Deny.indeterminate(), Some(failure)),
        Decision::Indeterminate(_) => Outcome::failed(combined, Some(failure)),
    }
}

impl Rule {
    /// Its answer to a request (§7.11, table 4).
    fn evaluate(&self, request: &Request) -> Outcome {
        match self.applies(request) {
            Ok(false) => Outcome::NOT_APPLICABLE,
            Ok(true) => match obligation::evaluate(&self.obligations, self.effect, request) {
                Ok(obligations) => Outcome { decision: self.effect.decision(), obligations, failure: None },
                Err(failure) => Outcome::failed(self.effect.indeterminate(), Some(failure)),
            },
            Err(failure) => Outcome::failed(self.effect.indeterminate(), Some(failure)),
        }
    }

    /// The condition is looked at only where the target matches.
    fn applies(&self, request: &Request) -> Result<bool, Failure> {
        match &self.condition {
            Some(condition) => Ok(self.target.matches(request)? && condition.holds(request)?),
            None => self.target.matches(request),
        }
    }
}
