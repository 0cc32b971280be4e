//! Values of attributes and their data types (XACML 3.0 core §7.3.1, appendix B.3).

/// The data types that are supported; their names are those of XML Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// `xs:string`
    String,
    /// `xs:boolean`
    Boolean,
    /// `xs:integer`, here of 64 bits
    Integer,
    /// `xs:anyURI`
    AnyUri,
}

impl DataType {
    pub(crate) const ALL: [Self; 4] = [Self::String, Self::Boolean, Self::Integer, Self::AnyUri];

    /// Its identifier (XACML 3.0 core §10.2.7).
    pub const fn id(self) -> &'static str {
        match self {
            Self::String => "http://www.w3.org/2001/XMLSchema#string",
            Self::Boolean => "http://www.w3.org/2001/XMLSchema#boolean",
            Self::Integer => "http://www.w3.org/2001/XMLSchema#integer",
            Self::AnyUri => "http://www.w3.org/2001/XMLSchema#anyURI",
        }
    }

    /// The name that functions for it begin with, and its shorthand (XACML 3.0 JSON profile §3.3.1).
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::AnyUri => "anyURI",
        }
    }

    /// The data type with this identifier.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.id() == id)
    }
}

/// One value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A string, character by character as it was given.
    String(String),
    /// True or false.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// An identifier, compared character by character (XACML 3.0 core A.3.1).
    AnyUri(String),
}

impl Value {
    /// Reads the text of a value (XML Schema part 2 §3.2 and §3.3); nothing when the text is none of this type.
    pub fn parse(data_type: DataType, text: &str) -> Option<Self> {
        let collapsed = text.trim_matches([' ', '\t', '\n', '\r']);
        match data_type {
            DataType::String => Some(Self::String(text.to_owned())),
            DataType::Boolean => match collapsed {
                "true" | "1" => Some(Self::Boolean(true)),
                "false" | "0" => Some(Self::Boolean(false)),
                _other => None,
            },
            DataType::Integer => collapsed.parse().ok().map(Self::Integer),
            DataType::AnyUri => Some(Self::AnyUri(collapsed.to_owned())),
        }
    }

    /// A string.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// Its data type.
    pub const fn data_type(&self) -> DataType {
        match self {
            Self::String(_) => DataType::String,
            Self::Boolean(_) => DataType::Boolean,
            Self::Integer(_) => DataType::Integer,
            Self::AnyUri(_) => DataType::AnyUri,
        }
    }

    /// Its text, from which [`Value::parse`] reads the same value.
    pub fn text(&self) -> String {
        match self {
            Self::String(text) | Self::AnyUri(text) => text.clone(),
            Self::Boolean(is_true) => is_true.to_string(),
            Self::Integer(number) => number.to_string(),
        }
    }

    /// The characters of a string or an identifier.
    pub(crate) fn characters(&self) -> Option<&str> {
        match self {
            Self::String(text) | Self::AnyUri(text) => Some(text),
            Self::Boolean(_) | Self::Integer(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_value_is_read_as_xml_schema_says() {
        use DataType::{AnyUri, Boolean, Integer, String};
        for (data_type, text, expected) in [
            (String, " a ", Some(Value::string(" a "))),
            (String, "", Some(Value::string(""))),
            (Boolean, " true\n", Some(Value::Boolean(true))),
            (Boolean, "0", Some(Value::Boolean(false))),
            (Boolean, "True", None),
            (Integer, " +007 ", Some(Value::Integer(7))),
            (Integer, "-1", Some(Value::Integer(-1))),
            (Integer, "1.0", None),
            (Integer, "", None),
            (Integer, "9223372036854775808", None),
            (AnyUri, " urn:a:b\t", Some(Value::AnyUri("urn:a:b".to_owned()))),
        ] {
            assert_eq!(Value::parse(data_type, text), expected, "{data_type:?} {text:?}");
        }
    }

    #[test]
    fn a_value_survives_its_text() {
        for value in [Value::string("x"), Value::Boolean(true), Value::Integer(-3), Value::AnyUri("u".into())]
        {
            assert_eq!(Value::parse(value.data_type(), &value.text()), Some(value));
        }
    }
}
