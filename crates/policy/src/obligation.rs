//! Obligations: what whoever asked must see to, when the decision is this one (XACML 3.0 core §7.18).

use crate::{
    expression::{Expression, Failure},
    policy::Effect,
    request::Request,
    value::Value,
};

/// An obligation that goes with a decision (XACML 3.0 core §5.34).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligation {
    /// Its identifier.
    pub id: String,
    /// What it says.
    pub assignments: Vec<Assignment>,
}

/// One value that an obligation carries (XACML 3.0 core §5.36).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Name of the attribute.
    pub attribute_id: String,
    /// Its category.
    pub category: Option<String>,
    /// Its issuer.
    pub issuer: Option<String>,
    /// Its value.
    pub value: Value,
}

/// An obligation before it is evaluated (XACML 3.0 core §5.39).
#[derive(Clone, Debug)]
pub(crate) struct ObligationExpression {
    pub(crate) id: String,
    pub(crate) fulfill_on: Effect,
    pub(crate) assignments: Vec<AssignmentExpression>,
}

/// A value that an obligation will carry (XACML 3.0 core §5.41).
#[derive(Clone, Debug)]
pub(crate) struct AssignmentExpression {
    pub(crate) attribute_id: String,
    pub(crate) category: Option<String>,
    pub(crate) issuer: Option<String>,
    pub(crate) expression: Expression,
}

/// Those obligations that go with this effect.
pub(crate) fn evaluate(
    expressions: &[ObligationExpression],
    effect: Effect,
    request: &Request,
) -> Result<Vec<Obligation>, Failure> {
    let due = expressions.iter().filter(|expression| expression.fulfill_on == effect);
    due.map(|expression| expression.evaluate(request)).collect()
}

impl ObligationExpression {
    fn evaluate(&self, request: &Request) -> Result<Obligation, Failure> {
        let mut assignments = Vec::new();
        for expression in &self.assignments {
            // A bag becomes one assignment for each of its values.
            for value in expression.expression.values(request)? {
                assignments.push(Assignment {
                    attribute_id: expression.attribute_id.clone(),
                    category: expression.category.clone(),
                    issuer: expression.issuer.clone(),
                    value: value.into_owned(),
                });
            }
        }
        Ok(Obligation { id: self.id.clone(), assignments })
    }
}
