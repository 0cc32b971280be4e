//! The functions that are supported, what they take, and what they give (XACML 3.0 core appendix A.3).
//!
//! `and`, `or` and `not` look at their arguments one by one and stand in [`crate::expression`]; regular expressions are made when
//! the policy is read and stand in [`crate::pattern`].

use std::borrow::Cow;

use crate::{
    expression::{Failure, Values},
    value::{DataType, Value},
};

/// A function, with the data type that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    /// `{type}-equal`, A.3.1
    Equal(DataType),
    /// `string-equal-ignore-case`, A.3.1
    EqualIgnoreCase,
    /// `integer-greater-than` and its kin, A.3.6
    Compare(Order),
    /// `{type}-regexp-match`, A.3.13
    Regexp(DataType),
    /// `{type}-one-and-only`, A.3.10
    OneAndOnly(DataType),
    /// `{type}-bag-size`, A.3.10
    BagSize(DataType),
    /// `{type}-is-in`, A.3.10
    IsIn(DataType),
    /// `{type}-bag`, A.3.10
    Bag(DataType),
    /// `{type}-at-least-one-member-of`, A.3.11
    AtLeastOneMemberOf(DataType),
    /// `or`, A.3.5
    Or,
    /// `and`, A.3.5
    And,
    /// `not`, A.3.5
    Not,
}

/// How two numbers stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// What an expression gives: one value, or a bag of any number of them (XACML 3.0 core §7.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    One(DataType),
    Bag(DataType),
}

/// What a function takes.
pub(crate) enum Parameters {
    /// These, in this order.
    These(Vec<Type>),
    /// Any number of this one.
    Any(Type),
}

impl Function {
    /// The function with this identifier (XACML 3.0 core §10.2.8). Identifiers carry the version of the standard that brought them.
    pub(crate) fn from_id(id: &str) -> Option<Self> {
        match id.strip_prefix("urn:oasis:names:tc:xacml:")? {
            "1.0:function:and" => Some(Self::And),
            "1.0:function:or" => Some(Self::Or),
            "1.0:function:not" => Some(Self::Not),
            "1.0:function:string-regexp-match" => Some(Self::Regexp(DataType::String)),
            "2.0:function:anyURI-regexp-match" => Some(Self::Regexp(DataType::AnyUri)),
            "3.0:function:string-equal-ignore-case" => Some(Self::EqualIgnoreCase),
            "1.0:function:integer-greater-than" => Some(Self::Compare(Order::Greater)),
            "1.0:function:integer-greater-than-or-equal" => Some(Self::Compare(Order::GreaterOrEqual)),
            "1.0:function:integer-less-than" => Some(Self::Compare(Order::Less)),
            "1.0:function:integer-less-than-or-equal" => Some(Self::Compare(Order::LessOrEqual)),
            other => Self::of_a_type(other.strip_prefix("1.0:function:")?),
        }
    }

    fn of_a_type(name: &str) -> Option<Self> {
        let (data_type, rest) = DataType::ALL.into_iter().find_map(|data_type| {
            let rest = name.strip_prefix(data_type.name())?.strip_prefix('-')?;
            Some((data_type, rest))
        })?;
        match rest {
            "equal" => Some(Self::Equal(data_type)),
            "one-and-only" => Some(Self::OneAndOnly(data_type)),
            "bag-size" => Some(Self::BagSize(data_type)),
            "is-in" => Some(Self::IsIn(data_type)),
            "bag" => Some(Self::Bag(data_type)),
            "at-least-one-member-of" => Some(Self::AtLeastOneMemberOf(data_type)),
            _other => None,
        }
    }

    pub(crate) fn parameters(self) -> Parameters {
        use Type::{Bag, One};
        match self {
            Self::Equal(of) => Parameters::These(vec![One(of), One(of)]),
            Self::EqualIgnoreCase => Parameters::These(vec![One(DataType::String), One(DataType::String)]),
            Self::Compare(_) => Parameters::These(vec![One(DataType::Integer), One(DataType::Integer)]),
            Self::Regexp(of) => Parameters::These(vec![One(DataType::String), One(of)]),
            Self::OneAndOnly(of) | Self::BagSize(of) => Parameters::These(vec![Bag(of)]),
            Self::IsIn(of) => Parameters::These(vec![One(of), Bag(of)]),
            Self::Bag(of) => Parameters::Any(One(of)),
            Self::AtLeastOneMemberOf(of) => Parameters::These(vec![Bag(of), Bag(of)]),
            Self::Or | Self::And => Parameters::Any(One(DataType::Boolean)),
            Self::Not => Parameters::These(vec![One(DataType::Boolean)]),
        }
    }

    pub(crate) fn gives(self) -> Type {
        match self {
            Self::OneAndOnly(of) => Type::One(of),
            Self::BagSize(_) => Type::One(DataType::Integer),
            Self::Bag(of) => Type::Bag(of),
            Self::Equal(_)
            | Self::EqualIgnoreCase
            | Self::Compare(_)
            | Self::Regexp(_)
            | Self::IsIn(_)
            | Self::AtLeastOneMemberOf(_)
            | Self::Or
            | Self::And
            | Self::Not => Type::One(DataType::Boolean),
        }
    }

    /// Whether two values stand to each other as the function asks; false for functions that do not compare two values. None of
    /// these can fail.
    pub(crate) fn compares(self, left: &Value, right: &Value) -> bool {
        match self {
            Self::Equal(_) => left == right,
            Self::EqualIgnoreCase => match (left.characters(), right.characters()) {
                (Some(left), Some(right)) => left.to_lowercase() == right.to_lowercase(),
                (None, _) | (_, None) => false,
            },
            Self::Compare(order) => match (left, right) {
                (Value::Integer(left), Value::Integer(right)) => order.holds(*left, *right),
                (_, _) => false,
            },
            Self::Regexp(_)
            | Self::OneAndOnly(_)
            | Self::BagSize(_)
            | Self::IsIn(_)
            | Self::Bag(_)
            | Self::AtLeastOneMemberOf(_)
            | Self::Or
            | Self::And
            | Self::Not => false,
        }
    }

    /// The value of the function for arguments that are known. Those that are not evaluated this way give an empty bag, which
    /// counts as false.
    pub(crate) fn apply<'a>(self, arguments: Vec<Values<'a>>) -> Result<Values<'a>, Failure> {
        let [first, second] = [0, 1].map(|at| arguments.get(at).map(Vec::as_slice).unwrap_or_default());
        let is_in = |value: &Value| second.iter().any(|known| **known == *value);
        match self {
            Self::Equal(_) | Self::EqualIgnoreCase | Self::Compare(_) => {
                let pair = first.first().zip(second.first());
                Ok(boolean(pair.is_some_and(|(left, right)| self.compares(left, right))))
            }
            Self::OneAndOnly(of) if first.len() != 1 => {
                Err(Failure::NotOneValue { data_type: of, count: first.len() })
            }
            Self::OneAndOnly(_) => Ok(first.to_vec()),
            Self::BagSize(_) => {
                let count = i64::try_from(first.len()).unwrap_or(i64::MAX);
                Ok(vec![Cow::Owned(Value::Integer(count))])
            }
            Self::IsIn(_) => Ok(boolean(first.first().is_some_and(|value| is_in(value)))),
            Self::AtLeastOneMemberOf(_) => Ok(boolean(first.iter().any(|value| is_in(value)))),
            Self::Bag(_) => Ok(arguments.into_iter().flatten().collect()),
            Self::Regexp(_) | Self::Or | Self::And | Self::Not => Ok(Vec::new()),
        }
    }
}

impl Order {
    fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
        }
    }
}

pub(crate) fn boolean<'a>(is_true: bool) -> Values<'a> {
    vec![Cow::Owned(Value::Boolean(is_true))]
}
