//! A document as a tree of XACML elements, within bounds. Nothing else knows the XML parser.
//!
//! Document types are refused outright, and with them every entity that XML does not define by itself: nothing can expand.
//! Comments and processing instructions mean nothing to XACML and are passed over.

use quick_xml::{
    NsReader, XmlVersion,
    events::{BytesRef, BytesStart, Event, attributes::Attribute},
    name::{Namespace, ResolveResult},
};

use crate::error::{PolicyError, Refusal};

/// Namespace of policies (XACML 3.0 core §1.3).
const XACML: &str = "urn:oasis:names:tc:xacml:3.0:core:schema:wd-17";
/// Namespace of the hints for validators that stand on many root elements.
const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

const BYTES_MAX: usize = 512 * 1024;
const ELEMENTS_MAX: usize = 20_000;
const DEPTH_MAX: usize = 32;
const ATTRIBUTES_MAX: usize = 16;

/// An element of the namespace of XACML, by its local name.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) children: Vec<Element>,
    /// All text directly inside, comments left out.
    pub(crate) text: String,
}

impl Element {
    pub(crate) fn refuse(&self, refusal: Refusal) -> PolicyError {
        PolicyError { line: self.line, element: self.name.clone(), refusal }
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// The root of a document.
pub(crate) fn read(text: &str) -> Result<Element, PolicyError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut tree = Tree {
        text,
        reader: NsReader::from_str(text),
        open: Vec::new(),
        root: None,
        elements: 0,
        line: 1,
        counted: 0,
    };
    if text.len() > BYTES_MAX {
        return Err(tree.refuse(Refusal::TooMuch { what: "bytes", max: BYTES_MAX }));
    }
    let config = tree.reader.config_mut();
    config.expand_empty_elements = true;
    config.check_comments = true;
    while tree.step()? {}
    tree.finish()
}

struct Tree<'a> {
    text: &'a str,
    reader: NsReader<&'a [u8]>,
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
    /// Line of the byte up to which lines were counted.
    line: usize,
    counted: usize,
}

impl Tree<'_> {
    fn refuse(&self, refusal: Refusal) -> PolicyError {
        let element = self.open.last().map_or("document", |element| &element.name).to_owned();
        PolicyError { line: self.line, element, refusal }
    }

    fn malformed(&self, error: impl ToString) -> PolicyError {
        self.refuse(Refusal::Malformed(error.to_string()))
    }

    /// Takes the next piece of the document; false at its end.
    fn step(&mut self) -> Result<bool, PolicyError> {
        let event = self.reader.read_event().map_err(|error| self.malformed(error))?;
        self.count_lines();
        match event {
            Event::Start(start) => self.start(&start)?,
            Event::Empty(start) => {
                self.start(&start)?;
                self.end()?;
            }
            Event::End(_) => self.end()?,
            Event::Text(text) => self.characters(&text.xml10_content())?,
            Event::CData(text) => self.characters(&text.xml10_content())?,
            Event::GeneralRef(reference) => {
                let character = self.referenced(&reference)?;
                self.characters(character.encode_utf8(&mut [0; 4]))?;
            }
            Event::DocType(_) => return Err(self.refuse(Refusal::DocumentType)),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Eof => return Ok(false),
        }
        Ok(true)
    }

    fn finish(self) -> Result<Element, PolicyError> {
        if !self.open.is_empty() {
            return Err(self.malformed("the element is not closed"));
        }
        let nothing = self.malformed("there is no element");
        self.root.ok_or(nothing)
    }

    fn count_lines(&mut self) {
        let position = usize::try_from(self.reader.buffer_position()).unwrap_or(usize::MAX);
        let passed = self.text.as_bytes().get(self.counted..position).unwrap_or_default();
        self.line += passed.iter().filter(|byte| **byte == b'\n').count();
        self.counted = position;
    }

    fn start(&mut self, start: &BytesStart<'_>) -> Result<(), PolicyError> {
        if self.open.is_empty() && self.root.is_some() {
            return Err(self.malformed("there is a second root element"));
        }
        self.elements += 1;
        if self.elements > ELEMENTS_MAX {
            return Err(self.refuse(Refusal::TooMuch { what: "elements", max: ELEMENTS_MAX }));
        }
        if self.open.len() == DEPTH_MAX {
            return Err(self.refuse(Refusal::TooMuch { what: "levels", max: DEPTH_MAX }));
        }
        let name = start.local_name().as_ref().to_owned();
        let mut element = Element { name, line: self.line, ..Element::default() };
        let (namespace, _) = self.reader.resolver().resolve_element(start.name());
        if namespace != ResolveResult::Bound(Namespace(XACML)) {
            return Err(element.refuse(Refusal::Namespace));
        }
        for attribute in start.attributes() {
            let attribute =
                attribute.map_err(|error| element.refuse(Refusal::Malformed(error.to_string())))?;
            if element.attributes.len() == ATTRIBUTES_MAX {
                return Err(element.refuse(Refusal::TooMuch { what: "attributes", max: ATTRIBUTES_MAX }));
            }
            if let Some(known) = self.attribute(&attribute, &element)? {
                element.attributes.push(known);
            }
        }
        self.open.push(element);
        Ok(())
    }

    /// Name and value; nothing for namespaces and for where a schema is.
    fn attribute(
        &self,
        attribute: &Attribute<'_>,
        element: &Element,
    ) -> Result<Option<(String, String)>, PolicyError> {
        let name = attribute.key.as_ref().to_owned();
        if attribute.key.as_namespace_binding().is_some() {
            return Ok(None);
        }
        match self.reader.resolver().resolve_attribute(attribute.key) {
            (ResolveResult::Unbound, _) => {}
            (ResolveResult::Bound(Namespace(SCHEMA_INSTANCE)), local)
                if ["schemaLocation", "noNamespaceSchemaLocation"].contains(&local.as_ref()) =>
            {
                return Ok(None);
            }
            (ResolveResult::Bound(_) | ResolveResult::Unknown(_), _) => {
                return Err(element.refuse(Refusal::Attribute(name)));
            }
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|error| element.refuse(Refusal::Malformed(error.to_string())))?;
        Ok(Some((name, value.into_owned())))
    }

    fn end(&mut self) -> Result<(), PolicyError> {
        let Some(element) = self.open.pop() else {
            return Err(self.malformed("nothing is open"));
        };
        match self.open.last_mut() {
            Some(parent) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn characters(&mut self, text: &str) -> Result<(), PolicyError> {
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if is_blank(text) => {}
            None => return Err(self.malformed("there is text outside the root element")),
        }
        Ok(())
    }

    /// The character of `&#65;` or of one of the five entities that XML has by itself.
    fn referenced(&self, reference: &BytesRef<'_>) -> Result<char, PolicyError> {
        if let Some(character) = reference.resolve_char_ref().map_err(|error| self.malformed(error))? {
            return Ok(character);
        }
        match &**reference {
            "amp" => Ok('&'),
            "lt" => Ok('<'),
            "gt" => Ok('>'),
            "quot" => Ok('"'),
            "apos" => Ok('\''),
            other => Err(self.refuse(Refusal::Entity(other.to_owned()))),
        }
    }
}

/// Whether there is nothing but the white space of XML.
pub(crate) fn is_blank(text: &str) -> bool {
    text.chars().all(|character| matches!(character, ' ' | '\t' | '\n' | '\r'))
}
