//! From a tree of elements to a policy: every element is known, every attribute is known, every type fits, or the policy is
//! refused.
//!
//! Each function reads one element of XACML 3.0 core section 5 and first says which attributes and children it may have.

use std::collections::BTreeSet;

use crate::{
    combine::Algorithm,
    error::{PolicyError, Refusal},
    expression::{Designator, Expression},
    function::{Function, Parameters, Type},
    obligation::{AssignmentExpression, ObligationExpression},
    pattern,
    policy::{Effect, Policy, Rule},
    target::{AllOf, AnyOf, Match, Target, Test},
    value::{DataType, Value},
    xml::{self, Element, is_blank},
};

/// What an expression can be (§5.25).
const EXPRESSIONS: &[&str] = &["AttributeValue", "AttributeDesignator", "Apply"];

/// Regular expressions of a policy: together with the bound on each, a bound on memory.
const PATTERNS_MAX: usize = 100;

/// `<Policy>`, §5.14
pub(crate) fn policy(text: &str) -> Result<Policy, PolicyError> {
    let element = &xml::read(text)?;
    if element.name != "Policy" {
        return Err(element.refuse(Refusal::Element));
    }
    let children = ["Description", "Target", "Rule", "ObligationExpressions"];
    element.allows(&["PolicyId", "Version", "RuleCombiningAlgId"], &children)?;
    element.required("Version")?;
    if patterns(element) > PATTERNS_MAX {
        return Err(element.refuse(Refusal::TooMuch { what: "regular expressions", max: PATTERNS_MAX }));
    }
    let algorithm = element.required("RuleCombiningAlgId")?;
    let algorithm = Algorithm::from_id(algorithm)
        .ok_or_else(|| element.refuse(Refusal::Algorithm(algorithm.to_owned())))?;
    if element.at_most_one("Target")?.is_none() {
        return Err(element.refuse(Refusal::MissingElement("Target")));
    }
    let mut ids = BTreeSet::new();
    let mut rules = Vec::new();
    for child in element.all("Rule") {
        let id = child.required("RuleId")?;
        if !ids.insert(id) {
            return Err(child.refuse(Refusal::Repeated(id.to_owned())));
        }
        rules.push(rule(child)?);
    }
    Ok(Policy {
        id: element.required("PolicyId")?.to_owned(),
        target: target(element)?,
        algorithm,
        rules,
        obligations: obligations(element)?,
    })
}

/// How many regular expressions there are in an element.
fn patterns(element: &Element) -> usize {
    let function = element.attribute("MatchId").or_else(|| element.attribute("FunctionId"));
    let is_pattern = function.is_some_and(|id| id.ends_with("-regexp-match"));
    usize::from(is_pattern) + element.children.iter().map(patterns).sum::<usize>()
}

/// `<Rule>`, §5.21
fn rule(element: &Element) -> Result<Rule, PolicyError> {
    let children = ["Description", "Target", "Condition", "ObligationExpressions"];
    element.allows(&["RuleId", "Effect"], &children)?;
    Ok(Rule {
        effect: effect(element, "Effect")?,
        target: target(element)?,
        condition: element.at_most_one("Condition")?.map(condition).transpose()?,
        obligations: obligations(element)?,
    })
}

fn effect(element: &Element, attribute: &'static str) -> Result<Effect, PolicyError> {
    match element.required(attribute)? {
        "Permit" => Ok(Effect::Permit),
        "Deny" => Ok(Effect::Deny),
        other => Err(element.refuse(Refusal::Value(other.to_owned()))),
    }
}

/// `<Target>`, §5.6; a parent without one is about everything.
fn target(parent: &Element) -> Result<Target, PolicyError> {
    let Some(element) = parent.at_most_one("Target")? else { return Ok(Target::default()) };
    element.allows(&[], &["AnyOf"])?;
    element.children.iter().map(any_of).collect::<Result<_, _>>().map(Target)
}

/// `<AnyOf>`, §5.7
fn any_of(element: &Element) -> Result<AnyOf, PolicyError> {
    element.allows(&[], &["AllOf"])?;
    element.not_empty("AllOf")?;
    element.children.iter().map(all_of).collect::<Result<_, _>>().map(AnyOf)
}

/// `<AllOf>`, §5.8
fn all_of(element: &Element) -> Result<AllOf, PolicyError> {
    element.allows(&[], &["Match"])?;
    element.not_empty("Match")?;
    element.children.iter().map(matching).collect::<Result<_, _>>().map(AllOf)
}

/// `<Match>`, §5.9: a function of two values that gives a boolean, the literal, and where the other value comes from.
fn matching(element: &Element) -> Result<Match, PolicyError> {
    element.allows(&["MatchId"], &["AttributeValue", "AttributeDesignator"])?;
    let literal = literal(element.one("AttributeValue")?)?;
    let attribute = designator(element.one("AttributeDesignator")?)?;
    let id = element.required("MatchId")?;
    let function = Function::from_id(id).ok_or_else(|| element.refuse(Refusal::Function(id.to_owned())))?;
    let takes = [Type::One(literal.data_type()), Type::One(attribute.data_type)];
    let test = match function {
        Function::Equal(_) | Function::EqualIgnoreCase | Function::Compare(_) => {
            check_arguments(element, function, &takes)?;
            Test::Compare(function, literal)
        }
        Function::Regexp(_) => {
            check_arguments(element, function, &takes)?;
            Test::Regexp(compiled(element, &literal)?)
        }
        Function::OneAndOnly(_)
        | Function::BagSize(_)
        | Function::IsIn(_)
        | Function::Bag(_)
        | Function::AtLeastOneMemberOf(_)
        | Function::Or
        | Function::And
        | Function::Not => return Err(element.refuse(Refusal::Function(id.to_owned()))),
    };
    Ok(Match { test, attribute })
}

/// `<Condition>`, §5.26
fn condition(element: &Element) -> Result<Expression, PolicyError> {
    element.allows(&[], EXPRESSIONS)?;
    let expression = the_expression(element)?;
    match expression.gives() {
        Type::One(DataType::Boolean) => Ok(expression),
        other @ (Type::One(_) | Type::Bag(_)) => {
            Err(element.refuse(Refusal::Arguments(format!("a boolean is needed, not {other:?}"))))
        }
    }
}

/// The only expression in an element that must have one.
fn the_expression(parent: &Element) -> Result<Expression, PolicyError> {
    match parent.children.as_slice() {
        [child] => expression(child),
        [] => Err(parent.refuse(Refusal::MissingElement("Expression"))),
        [_, second, ..] => Err(second.refuse(Refusal::Element)),
    }
}

fn expression(element: &Element) -> Result<Expression, PolicyError> {
    match element.name.as_str() {
        "AttributeValue" => literal(element).map(Expression::Literal),
        "AttributeDesignator" => designator(element).map(Expression::Attribute),
        "Apply" => apply(element),
        _other => Err(element.refuse(Refusal::Element)),
    }
}

/// `<Apply>`, §5.27
fn apply(element: &Element) -> Result<Expression, PolicyError> {
    let mut children = vec!["Description"];
    children.extend_from_slice(EXPRESSIONS);
    element.allows(&["FunctionId"], &children)?;
    element.at_most_one("Description")?;
    let id = element.required("FunctionId")?;
    let function = Function::from_id(id).ok_or_else(|| element.refuse(Refusal::Function(id.to_owned())))?;
    let arguments = element.children.iter().filter(|child| child.name != "Description");
    let mut arguments: Vec<_> = arguments.map(expression).collect::<Result<_, _>>()?;
    let types: Vec<_> = arguments.iter().map(Expression::gives).collect();
    check_arguments(element, function, &types)?;
    let Function::Regexp(_) = function else { return Ok(Expression::Apply(function, arguments)) };
    match (arguments.pop(), arguments.pop()) {
        (Some(text), Some(Expression::Literal(pattern))) => {
            Ok(Expression::Matches(compiled(element, &pattern)?, Box::new(text)))
        }
        (_, _) => Err(element.refuse(Refusal::Pattern("it is not a literal".to_owned()))),
    }
}

fn check_arguments(element: &Element, function: Function, given: &[Type]) -> Result<(), PolicyError> {
    let fits = match function.parameters() {
        Parameters::These(wanted) => wanted == given,
        Parameters::Any(wanted) => given.iter().all(|one| *one == wanted),
    };
    if fits {
        return Ok(());
    }
    Err(element.refuse(Refusal::Arguments(format!("{function:?} does not take {given:?}"))))
}

fn compiled(element: &Element, literal: &Value) -> Result<regex::Regex, PolicyError> {
    let pattern = literal.characters().unwrap_or_default();
    pattern::compile(pattern).map_err(|reason| element.refuse(Refusal::Pattern(reason)))
}

/// `<AttributeValue>`, §5.31
fn literal(element: &Element) -> Result<Value, PolicyError> {
    element.has_attributes(&["DataType"])?;
    if let Some(child) = element.children.first() {
        return Err(child.refuse(Refusal::Element));
    }
    Value::parse(data_type(element)?, &element.text)
        .ok_or_else(|| element.refuse(Refusal::Value(element.text.clone())))
}

/// `<AttributeDesignator>`, §5.29, without an issuer
fn designator(element: &Element) -> Result<Designator, PolicyError> {
    element.allows(&["Category", "AttributeId", "DataType", "MustBePresent"], &[])?;
    let must_be_present = element.required("MustBePresent")?;
    let Some(Value::Boolean(must_be_present)) = Value::parse(DataType::Boolean, must_be_present) else {
        return Err(element.refuse(Refusal::Value(must_be_present.to_owned())));
    };
    Ok(Designator {
        category: element.required("Category")?.to_owned(),
        id: element.required("AttributeId")?.to_owned(),
        data_type: data_type(element)?,
        must_be_present,
    })
}

fn data_type(element: &Element) -> Result<DataType, PolicyError> {
    let id = element.required("DataType")?;
    DataType::from_id(id).ok_or_else(|| element.refuse(Refusal::DataType(id.to_owned())))
}

/// `<ObligationExpressions>`, §5.37
fn obligations(parent: &Element) -> Result<Vec<ObligationExpression>, PolicyError> {
    let Some(element) = parent.at_most_one("ObligationExpressions")? else { return Ok(Vec::new()) };
    element.allows(&[], &["ObligationExpression"])?;
    element.not_empty("ObligationExpression")?;
    element.children.iter().map(obligation).collect()
}

/// `<ObligationExpression>`, §5.39
fn obligation(element: &Element) -> Result<ObligationExpression, PolicyError> {
    element.allows(&["ObligationId", "FulfillOn"], &["AttributeAssignmentExpression"])?;
    Ok(ObligationExpression {
        id: element.required("ObligationId")?.to_owned(),
        fulfill_on: effect(element, "FulfillOn")?,
        assignments: element.children.iter().map(assignment).collect::<Result<_, _>>()?,
    })
}

/// `<AttributeAssignmentExpression>`, §5.41
fn assignment(element: &Element) -> Result<AssignmentExpression, PolicyError> {
    element.allows(&["AttributeId", "Category", "Issuer"], EXPRESSIONS)?;
    Ok(AssignmentExpression {
        attribute_id: element.required("AttributeId")?.to_owned(),
        category: element.attribute("Category").map(str::to_owned),
        issuer: element.attribute("Issuer").map(str::to_owned),
        expression: the_expression(element)?,
    })
}

impl Element {
    /// No other attributes, no other children, no text. A description may say anything, and nothing else stands in it.
    fn allows(&self, attributes: &[&str], children: &[&str]) -> Result<(), PolicyError> {
        self.has_attributes(attributes)?;
        if !is_blank(&self.text) {
            return Err(self.refuse(Refusal::Text));
        }
        for child in &self.children {
            if !children.contains(&child.name.as_str()) {
                return Err(child.refuse(Refusal::Element));
            }
        }
        match self.at_most_one("Description")? {
            Some(description) => match description.children.first() {
                Some(inner) => Err(inner.refuse(Refusal::Element)),
                None => description.has_attributes(&[]),
            },
            None => Ok(()),
        }
    }

    fn has_attributes(&self, known: &[&str]) -> Result<(), PolicyError> {
        match self.attributes.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(self.refuse(Refusal::Attribute(name.clone()))),
            None => Ok(()),
        }
    }

    fn required(&self, name: &'static str) -> Result<&str, PolicyError> {
        self.attribute(name).ok_or_else(|| self.refuse(Refusal::MissingAttribute(name)))
    }

    fn all(&self, name: &str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn at_most_one(&self, name: &str) -> Result<Option<&Self>, PolicyError> {
        let mut found = self.all(name);
        let first = found.next();
        match found.next() {
            Some(second) => Err(second.refuse(Refusal::Repeated(name.to_owned()))),
            None => Ok(first),
        }
    }

    fn one(&self, name: &'static str) -> Result<&Self, PolicyError> {
        self.at_most_one(name)?.ok_or_else(|| self.refuse(Refusal::MissingElement(name)))
    }

    fn not_empty(&self, child: &'static str) -> Result<(), PolicyError> {
        if self.children.is_empty() { Err(self.refuse(Refusal::MissingElement(child))) } else { Ok(()) }
    }
}
