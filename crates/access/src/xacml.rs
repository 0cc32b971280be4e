//! The XACML JSON profile, as the PDP of Altinn speaks it (contract §3.1): requests out, results in.
//!
//! Members that are not set go out as null, flags as false. Answers are read without regard to the case of member names.

use serde::Serialize;
use serde_json::Value;

use crate::{
    attribute::{ACTION_ID, Attribute},
    outcome::{Obligations, Outcome},
    question::Action,
};

const LEVEL: &str = "urn:altinn:minimum-authenticationlevel";
const LEVEL_ORG: &str = "urn:altinn:minimum-authenticationlevel-org";

/// One question ready to be sent.
pub(crate) struct Asked<'a> {
    pub(crate) subject: &'a [Attribute],
    pub(crate) action: Action,
    pub(crate) resource: Vec<Attribute>,
}

/// The body of a request for these questions. `is_multi` picks the form of a lonely question.
///
/// References stand resource-major, then action, then subject, in the order of first use; the PDP answers in their order.
/// The returned list says which question each reference belongs to.
pub(crate) fn request(questions: &[&Asked<'_>], is_multi: bool) -> (Vec<u8>, Vec<usize>) {
    let mut subjects: Pool<'_, [Attribute]> = Pool::default();
    let mut actions = Pool::default();
    let mut resources: Pool<'_, [Attribute]> = Pool::default();
    let mut places: Vec<_> = questions
        .iter()
        .enumerate()
        .map(|(index, asked)| Place {
            resource: resources.place_of(asked.resource.as_slice()),
            action: actions.place_of(asked.action.text()),
            subject: subjects.place_of(asked.subject),
            question: index,
        })
        .collect();
    places.sort_by_key(|place| (place.resource, place.action, place.subject));
    let is_multi = is_multi || questions.len() > 1;
    let body = Body {
        request: Request {
            access_subject: categories("s", is_multi, subjects.items.iter().map(|list| attributes(list))),
            action: categories("a", is_multi, actions.items.iter().map(|text| vec![action_json(text)])),
            resource: categories("r", is_multi, resources.items.iter().map(|list| attributes(list))),
            multi_requests: is_multi
                .then(|| MultiRequests { request_reference: places.iter().map(Place::reference).collect() }),
            return_policy_id_list: false,
            combined_decision: false,
            x_path_version: None,
            category: None,
            recipient_subject: None,
            intermediary_subject: None,
            requesting_machine: None,
        },
    };
    let json = serde_json::to_vec(&body).unwrap_or_default();
    (json, places.into_iter().map(|place| place.question).collect())
}

/// Items by first use. Few, or all different: a linear search over at most one chunk.
struct Pool<'a, T: ?Sized> {
    items: Vec<&'a T>,
}

impl<T: ?Sized> Default for Pool<'_, T> {
    fn default() -> Self {
        Self { items: Vec::new() }
    }
}

impl<'a, T: ?Sized + PartialEq> Pool<'a, T> {
    fn place_of(&mut self, item: &'a T) -> usize {
        self.items.iter().position(|known| *known == item).unwrap_or_else(|| {
            self.items.push(item);
            self.items.len() - 1
        })
    }
}

struct Place {
    resource: usize,
    action: usize,
    subject: usize,
    question: usize,
}

impl Place {
    fn reference(&self) -> Reference {
        let name = |prefix: &str, index: usize| format!("{prefix}{}", index + 1);
        Reference {
            reference_id: [name("s", self.subject), name("a", self.action), name("r", self.resource)],
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    request: Request<'a>,
}

/// Members that we never set are here because the existing client sends them.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    return_policy_id_list: bool,
    combined_decision: bool,
    x_path_version: Option<()>,
    category: Option<()>,
    resource: Vec<Category<'a>>,
    action: Vec<Category<'a>>,
    access_subject: Vec<Category<'a>>,
    recipient_subject: Option<()>,
    intermediary_subject: Option<()>,
    requesting_machine: Option<()>,
    multi_requests: Option<MultiRequests>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Category<'a> {
    category_id: Option<()>,
    id: Option<String>,
    content: Option<()>,
    attribute: Vec<AttributeJson<'a>>,
}

/// Only the multi-decision form names its categories.
fn categories<'a>(
    prefix: &str,
    is_multi: bool,
    lists: impl Iterator<Item = Vec<AttributeJson<'a>>>,
) -> Vec<Category<'a>> {
    let category = |(index, attribute)| Category {
        category_id: None,
        id: is_multi.then(|| format!("{prefix}{}", index + 1)),
        content: None,
        attribute,
    };
    lists.enumerate().map(category).collect()
}

fn attributes(list: &[Attribute]) -> Vec<AttributeJson<'_>> {
    list.iter().map(AttributeJson::of).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AttributeJson<'a> {
    attribute_id: &'a str,
    value: &'a str,
    issuer: &'a str,
    data_type: &'static str,
    include_in_result: bool,
}

impl<'a> AttributeJson<'a> {
    fn of(attribute: &'a Attribute) -> Self {
        Self {
            attribute_id: &attribute.id,
            value: &attribute.value,
            issuer: &attribute.issuer,
            data_type: attribute.data_type.text(),
            include_in_result: attribute.in_result,
        }
    }
}

fn action_json(text: &str) -> AttributeJson<'_> {
    AttributeJson {
        attribute_id: ACTION_ID,
        value: text,
        issuer: crate::attribute::ALTINN,
        data_type: "string",
        include_in_result: true,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MultiRequests {
    request_reference: Vec<Reference>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    reference_id: [String; 3],
}

/// What is neither yes nor no, before it is known what else was answered.
const INDETERMINATE: Outcome = Outcome::Indeterminate { beside_answers: false };

/// The results of an answer in its own order, which is that of the references; nothing when the body is not an answer. What comes back
/// of attributes is not looked at: indeterminate results and some refusals bring none.
pub(crate) fn answer(body: &[u8]) -> Option<Vec<Outcome>> {
    let json: Value = serde_json::from_slice(body).ok()?;
    member(&json, "response")?.as_array()?.iter().map(result).collect()
}

/// Permit, or a plain no. Everything else is neither, and so is a permit whose obligation cannot be read.
fn result(json: &Value) -> Option<Outcome> {
    let decision = member(json, "decision")?.as_str()?;
    let is = |name: &str| decision.eq_ignore_ascii_case(name);
    Some(if is("permit") {
        obligations(json).map_or(INDETERMINATE, Outcome::Permit)
    } else if is("deny") || is("notapplicable") {
        Outcome::Refuse
    } else {
        INDETERMINATE
    })
}

/// The least levels; nothing when one of them cannot be read.
fn obligations(result: &Value) -> Option<Obligations> {
    let mut found = Obligations::default();
    for assignment in
        list(result, "obligations").flat_map(|obligation| list(obligation, "attributeAssignment"))
    {
        let category = member(assignment, "category").and_then(Value::as_str).unwrap_or_default();
        let place = match category {
            LEVEL => &mut found.level,
            LEVEL_ORG => &mut found.level_org,
            _of_others => continue,
        };
        let level: u8 = text(member(assignment, "value")?)?.trim().parse().ok()?;
        *place = Some(place.map_or(level, |known| known.max(level)));
    }
    Some(found)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A member by name, whatever its case.
fn member<'a>(json: &'a Value, name: &str) -> Option<&'a Value> {
    let object = json.as_object()?;
    object
        .get(name)
        .or_else(|| object.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

fn list<'a>(json: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    member(json, name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(result: &Value) -> Outcome {
        let body = serde_json::to_vec(&json!({ "Response": [result] })).unwrap();
        answer(&body).unwrap().remove(0)
    }

    #[test]
    fn answers_are_read_without_regard_to_case() {
        let body = br#"{"RESPONSE":[{"Decision":"Permit","Obligations":[{"AttributeAssignment":[
            {"Category":"urn:altinn:minimum-authenticationlevel","Value":"3"},
            {"Category":"urn:altinn:minimum-authenticationlevel-org","Value":4}]}]}]}"#;
        let expected = Outcome::Permit(Obligations { level: Some(3), level_org: Some(4) });
        assert_eq!(answer(body).unwrap(), [expected]);
    }

    #[test]
    fn members_that_are_null_are_absent() {
        let result = json!({
            "decision": "Permit", "status": {"statusMessage": null, "statusDetails": null, "statusCode": null},
            "obligations": null, "associateAdvice": null, "category": null, "policyIdentifierList": null,
        });
        assert_eq!(one(&result), Outcome::Permit(Obligations::default()));
    }

    #[test]
    fn deny_and_not_applicable_are_no_and_the_rest_is_neither() {
        for no in ["Deny", "NotApplicable", "deny"] {
            assert_eq!(one(&json!({ "decision": no })), Outcome::Refuse, "{no}");
        }
        let unreadable = json!({"decision": "Permit", "obligations": [{"attributeAssignment": [
            {"category": LEVEL, "value": "high"}]}]});
        for neither in [json!({"decision": "Indeterminate"}), json!({"decision": "Perhaps"}), unreadable] {
            assert_eq!(one(&neither), INDETERMINATE, "{neither}");
        }
        assert!(
            answer(b"[]").is_none() && answer(b"{}").is_none() && answer(br#"{"response":[{}]}"#).is_none()
        );
    }
}
