//! What a decision is asked for: attributes by category and name (XACML 3.0 core §7.3).

use std::collections::BTreeMap;

use crate::value::{DataType, Value};

/// Category of who asks (XACML 3.0 core B.2).
pub const SUBJECT: &str = "urn:oasis:names:tc:xacml:1.0:subject-category:access-subject";
/// Category of what it is about (XACML 3.0 core B.2).
pub const RESOURCE: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:resource";
/// Category of what is to be done (XACML 3.0 core B.2).
pub const ACTION: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:action";
/// Category of what surrounds the question (XACML 3.0 core B.2).
pub const ENVIRONMENT: &str = "urn:oasis:names:tc:xacml:3.0:attribute-category:environment";

/// A request. Values may be person numbers: it has no `Debug`.
#[derive(Clone, Default)]
pub struct Request {
    categories: BTreeMap<String, BTreeMap<String, Vec<Value>>>,
}

impl Request {
    /// One without attributes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value to an attribute; an attribute may have many.
    pub fn add(&mut self, category: &str, id: &str, value: Value) {
        let attributes = self.categories.entry(category.to_owned()).or_default();
        attributes.entry(id.to_owned()).or_default().push(value);
    }

    /// The same with one more value.
    #[must_use]
    pub fn with(mut self, category: &str, id: &str, value: Value) -> Self {
        self.add(category, id, value);
        self
    }

    /// The values of an attribute that have this type; others do not count (XACML 3.0 core §7.3.4).
    pub(crate) fn values(
        &self,
        category: &str,
        id: &str,
        data_type: DataType,
    ) -> impl Iterator<Item = &Value> {
        let values = self.categories.get(category).and_then(|attributes| attributes.get(id));
        values.into_iter().flatten().filter(move |value| value.data_type() == data_type)
    }
}
