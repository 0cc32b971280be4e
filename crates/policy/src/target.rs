//! Targets: what a policy or rule is about (XACML 3.0 core §7.6, §7.7). A failure stands for "Indeterminate".

use regex::Regex;

use crate::{
    expression::{Designator, Failure, all, any},
    function::Function,
    request::Request,
    value::Value,
};

/// All of its alternatives must match; without any it matches everything (table 1).
#[derive(Clone, Debug, Default)]
pub(crate) struct Target(pub(crate) Vec<AnyOf>);

/// One of these must match (table 2).
#[derive(Clone, Debug)]
pub(crate) struct AnyOf(pub(crate) Vec<AllOf>);

/// All of these must match (table 3).
#[derive(Clone, Debug)]
pub(crate) struct AllOf(pub(crate) Vec<Match>);

/// One of the attribute's values must stand the test (§7.6).
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) test: Test,
    pub(crate) attribute: Designator,
}

#[derive(Clone, Debug)]
pub(crate) enum Test {
    /// The literal is the first argument of the function, the attribute's value the second.
    Compare(Function, Value),
    Regexp(Regex),
}

impl Target {
    pub(crate) fn matches(&self, request: &Request) -> Result<bool, Failure> {
        all(self.0.iter().map(|alternatives| alternatives.matches(request)))
    }
}

impl AnyOf {
    fn matches(&self, request: &Request) -> Result<bool, Failure> {
        any(self.0.iter().map(|alternative| alternative.matches(request)))
    }
}

impl AllOf {
    fn matches(&self, request: &Request) -> Result<bool, Failure> {
        all(self.0.iter().map(|part| part.matches(request)))
    }
}

impl Match {
    fn matches(&self, request: &Request) -> Result<bool, Failure> {
        Ok(self.attribute.values(request)?.into_iter().any(|value| self.test.passes(value)))
    }
}

impl Test {
    fn passes(&self, value: &Value) -> bool {
        match self {
            Self::Compare(function, literal) => function.compares(literal, value),
            Self::Regexp(pattern) => value.characters().is_some_and(|text| pattern.is_match(text)),
        }
    }
}
