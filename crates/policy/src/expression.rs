//! Expressions and their evaluation (XACML 3.0 core §7.3.5, §7.5, A.3.5). Types were checked when the policy was read.

use std::borrow::Cow;

use regex::Regex;
use thiserror::Error;

use crate::{
    function::{Function, Type, boolean},
    request::Request,
    value::{DataType, Value},
};

/// Why a decision is indeterminate.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// An attribute that must be present is not (XACML 3.0 core §7.3.5).
    #[error("the attribute {id} of {} is missing", data_type.id())]
    MissingAttribute {
        /// Category of the attribute.
        category: String,
        /// Its name.
        id: String,
        /// Its data type.
        data_type: DataType,
    },
    /// A bag holds none or several values where one is needed (XACML 3.0 core A.3.10).
    #[error("one {} is needed, and there are {count}", data_type.name())]
    NotOneValue {
        /// Data type of the bag.
        data_type: DataType,
        /// How many values it holds.
        count: usize,
    },
}

impl Failure {
    /// The status code that tells it (XACML 3.0 core B.8).
    pub const fn status(&self) -> &'static str {
        match self {
            Self::MissingAttribute { .. } => "urn:oasis:names:tc:xacml:1.0:status:missing-attribute",
            Self::NotOneValue { .. } => "urn:oasis:names:tc:xacml:1.0:status:processing-error",
        }
    }
}

/// What an expression gives: a bag, or one value as a bag of one.
pub(crate) type Values<'a> = Vec<Cow<'a, Value>>;

/// An expression (XACML 3.0 core §5.25).
#[derive(Clone, Debug)]
pub(crate) enum Expression {
    Literal(Value),
    Attribute(Designator),
    Apply(Function, Vec<Expression>),
    /// The pattern is a literal, made ready when the policy was read.
    Matches(Regex, Box<Expression>),
}

/// Names an attribute of the request (XACML 3.0 core §5.29).
#[derive(Clone, Debug)]
pub(crate) struct Designator {
    pub(crate) category: String,
    pub(crate) id: String,
    pub(crate) data_type: DataType,
    pub(crate) must_be_present: bool,
}

impl Designator {
    /// The values of the attribute, or a failure when there must be one (XACML 3.0 core §7.3.5).
    pub(crate) fn values<'a>(&self, request: &'a Request) -> Result<Vec<&'a Value>, Failure> {
        let values: Vec<_> = request.values(&self.category, &self.id, self.data_type).collect();
        if values.is_empty() && self.must_be_present {
            return Err(Failure::MissingAttribute {
                category: self.category.clone(),
                id: self.id.clone(),
                data_type: self.data_type,
            });
        }
        Ok(values)
    }
}

impl Expression {
    /// Its type.
    pub(crate) fn gives(&self) -> Type {
        match self {
            Self::Literal(value) => Type::One(value.data_type()),
            Self::Attribute(designator) => Type::Bag(designator.data_type),
            Self::Apply(function, _) => function.gives(),
            Self::Matches(..) => Type::One(DataType::Boolean),
        }
    }

    /// Its values for a request.
    pub(crate) fn values<'a>(&'a self, request: &'a Request) -> Result<Values<'a>, Failure> {
        match self {
            Self::Literal(value) => Ok(vec![Cow::Borrowed(value)]),
            Self::Attribute(designator) => {
                Ok(designator.values(request)?.into_iter().map(Cow::Borrowed).collect())
            }
            Self::Apply(function, arguments) => apply(*function, arguments, request),
            Self::Matches(pattern, text) => {
                let values = text.values(request)?;
                let text = values.first().and_then(|value| value.characters());
                Ok(boolean(text.is_some_and(|text| pattern.is_match(text))))
            }
        }
    }

    /// Whether it is true; for expressions that give a boolean.
    pub(crate) fn holds(&self, request: &Request) -> Result<bool, Failure> {
        Ok(self.values(request)?.first().is_some_and(|value| **value == Value::Boolean(true)))
    }
}

fn apply<'a>(
    function: Function,
    arguments: &'a [Expression],
    request: &'a Request,
) -> Result<Values<'a>, Failure> {
    let mut truths = arguments.iter().map(|argument| argument.holds(request));
    match function {
        Function::And => all(truths).map(boolean),
        Function::Or => any(truths).map(boolean),
        Function::Not => truths.next().unwrap_or(Ok(true)).map(|is_true| boolean(!is_true)),
        Function::Equal(_)
        | Function::EqualIgnoreCase
        | Function::Compare(_)
        | Function::Regexp(_)
        | Function::OneAndOnly(_)
        | Function::BagSize(_)
        | Function::IsIn(_)
        | Function::Bag(_)
        | Function::AtLeastOneMemberOf(_) => {
            let values: Result<_, _> = arguments.iter().map(|argument| argument.values(request)).collect();
            function.apply(values?)
        }
    }
}

/// One false part decides, also beside parts that fail; else a failure counts; else, as for no parts at all, it is true
/// (XACML 3.0 core §7.7 tables 1 and 3, A.3.5 `and`).
pub(crate) fn all(parts: impl Iterator<Item = Result<bool, Failure>>) -> Result<bool, Failure> {
    let mut failure = None;
    for part in parts {
        match part {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or(Ok(true), Err)
}

/// One true part decides, also beside parts that fail; else a failure counts; else, as for no parts at all, it is false
/// (XACML 3.0 core §7.6, §7.7 table 2, A.3.5 `or`).
pub(crate) fn any(parts: impl Iterator<Item = Result<bool, Failure>>) -> Result<bool, Failure> {
    all(parts.map(|part| part.map(|is_true| !is_true))).map(|none| !none)
}
