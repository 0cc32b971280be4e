//! Why a policy is refused when it is read: where, which element, what about it.

use thiserror::Error;

/// A policy that cannot be read, or not be evaluated exactly.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}, <{element}>: {refusal}")]
pub struct PolicyError {
    /// Line of the document, from 1.
    pub line: usize,
    /// Local name of the element; of the innermost open one where the document itself is broken.
    pub element: String,
    /// What about it.
    pub refusal: Refusal,
}

/// What is wrong with an element.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The document has too many bytes, elements, levels or attributes.
    #[error("more than {max} {what}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// The document is not XML.
    #[error("not well-formed: {0}")]
    Malformed(String),
    /// A document type; it could define entities.
    #[error("a document type is not allowed")]
    DocumentType,
    /// An entity that XML does not define by itself.
    #[error("the entity `{0}` is not allowed")]
    Entity(String),
    /// An element outside the namespace of XACML 3.0.
    #[error("the element is not of XACML 3.0")]
    Namespace,
    /// An element that is not supported, or not at this place.
    #[error("the element is not supported here")]
    Element,
    /// A child is missing.
    #[error("a <{0}> is missing")]
    MissingElement(&'static str),
    /// A child, or a rule id, stands more often than once.
    #[error("`{0}` stands here more than once")]
    Repeated(String),
    /// Text where only elements may be.
    #[error("text is not allowed here")]
    Text,
    /// An attribute that is not supported.
    #[error("the attribute `{0}` is not supported")]
    Attribute(String),
    /// An attribute is missing.
    #[error("the attribute `{0}` is missing")]
    MissingAttribute(&'static str),
    /// The value of an attribute, or the text of an element, is not one of those that may be there.
    #[error("`{0}` is not a value for this")]
    Value(String),
    /// A data type that is not supported.
    #[error("the data type `{0}` is not supported")]
    DataType(String),
    /// A function that is not supported, or not at this place.
    #[error("the function `{0}` is not supported here")]
    Function(String),
    /// Arguments that the function does not take.
    #[error("the arguments do not fit: {0}")]
    Arguments(String),
    /// A rule-combining algorithm that is not supported.
    #[error("the rule-combining algorithm `{0}` is not supported")]
    Algorithm(String),
    /// A regular expression that cannot be evaluated exactly.
    #[error("the regular expression is not supported: {0}")]
    Pattern(String),
}
