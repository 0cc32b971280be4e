//! One question of a request in the XACML JSON profile: read, made ready for a policy, answered (contract §3.1, §3.4).

use policy::{ACTION, DataType, Obligation, RESOURCE, Request, SUBJECT, Value};
use serde_json::{Value as Json, json};

use crate::{
    data::{Party, Roles},
    register::party_of_urn,
};

const RESOURCE_NAME: &str = "urn:altinn:resource";
const ORG: &str = "urn:altinn:org";
const APP: &str = "urn:altinn:app";
const PARTY_ID: &str = "urn:altinn:partyid";
const ROLE_CODE: &str = "urn:altinn:rolecode";
const PERSON_NUMBER: &str = "urn:altinn:person:identifier-no";
const ORGANISATION_NUMBER: &str = "urn:altinn:organization:identifier-no";
const ORGANISATION_NUMBER_OLD: &str = "urn:altinn:organizationnumber";
const SYSTEM_USER: &str = "urn:altinn:systemuser:uuid";

pub(crate) struct Question<'a> {
    pub(crate) subject: Vec<Attribute<'a>>,
    action: Vec<Attribute<'a>>,
    resource: Vec<Attribute<'a>>,
}

pub(crate) struct Attribute<'a> {
    pub(crate) id: &'a str,
    pub(crate) value: String,
    json: &'a Json,
}

/// The questions of a request; fewer than two references make it a single one.
pub(crate) fn questions(body: &Json) -> Option<Vec<Question<'_>>> {
    let request = body.get("request")?;
    let references = request.pointer("/multiRequests/requestReference").and_then(Json::as_array);
    let Some(references) = references.filter(|references| references.len() > 1) else {
        let first = |name: &str| request.get(name)?.as_array()?.first();
        return Some(vec![question(first("accessSubject")?, first("action")?, first("resource")?)?]);
    };
    let named = |category: &str, ids: &Vec<Json>| {
        request
            .get(category)?
            .as_array()?
            .iter()
            .find(|found| found.get("id").is_some_and(|id| ids.contains(id)))
    };
    references
        .iter()
        .map(|reference| {
            let ids = reference.get("referenceId")?.as_array()?;
            question(named("accessSubject", ids)?, named("action", ids)?, named("resource", ids)?)
        })
        .collect()
}

fn question<'a>(subject: &'a Json, action: &'a Json, resource: &'a Json) -> Option<Question<'a>> {
    let action = attributes(action)?;
    action.first()?.json.get("value")?.as_str()?;
    Some(Question { subject: attributes(subject)?, action, resource: attributes(resource)? })
}

fn attributes(category: &Json) -> Option<Vec<Attribute<'_>>> {
    category.get("attribute")?.as_array()?.iter().map(attribute).collect()
}

fn attribute(json: &Json) -> Option<Attribute<'_>> {
    let value = json.get("value")?;
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    Some(Attribute { id: json.get("attributeId")?.as_str()?, value, json })
}

impl Question<'_> {
    pub(crate) fn action(&self) -> &str {
        self.action.first().map_or("", |action| &action.value)
    }

    /// Such questions are refused (contract §3.5).
    pub(crate) fn names_a_person_by_number(&self) -> bool {
        self.of_resource(PERSON_NUMBER).is_some()
    }

    /// The name of the resource, the prefix left out; an app is told by its org and name.
    pub(crate) fn resource_name(&self) -> Option<String> {
        match (self.of_resource(ORG), self.of_resource(APP)) {
            (Some(org), Some(app)) => Some(format!("app_{org}_{app}")),
            (_, _) => self.of_resource(RESOURCE_NAME).map(str::to_owned),
        }
    }

    fn of_resource(&self, id: &str) -> Option<&str> {
        self.resource.iter().find(|found| found.id == id).map(|found| found.value.as_str())
    }

    /// The party that the resource is about: told by its number, or by the number of the organisation, or by its id.
    pub(crate) fn party(&self, parties: &[Party]) -> Option<i64> {
        if let Some(party) = self.of_resource(PARTY_ID) {
            return party.parse().ok();
        }
        self.resource
            .iter()
            .find_map(|found| party_of_urn(parties, &format!("{}:{}", found.id, found.value)))
            .map(|party| party.party_id)
    }

    /// Numbers of the organisations that the subject is or works for: told by number, as a service owner, or as a system user.
    pub(crate) fn organisations<'a>(&'a self, parties: &'a [Party]) -> Vec<&'a str> {
        let number = |matches: &dyn Fn(&Party) -> bool| {
            parties.iter().find(|party| matches(party))?.org_number.as_deref()
        };
        let of_attribute = |found: &'a Attribute<'_>| match found.id {
            ORGANISATION_NUMBER | ORGANISATION_NUMBER_OLD => Some(found.value.as_str()),
            ORG => number(&|party| party.org.as_ref() == Some(&found.value)),
            SYSTEM_USER => number(&|party| party.system_users.contains(&found.value)),
            _other => None,
        };
        self.subject.iter().filter_map(of_attribute).collect()
    }

    /// What a policy is asked: the attributes as they came, and what follows from them, as the real decision point adds it: the app
    /// of a resource and the resource of an app, the party by its number, and the roles that the subject has for that party.
    pub(crate) fn request(&self, parties: &[Party], roles: &[Roles]) -> Request {
        let mut request = Request::new();
        let categories = [(SUBJECT, &self.subject), (ACTION, &self.action), (RESOURCE, &self.resource)];
        for (category, attributes) in categories {
            for attribute in attributes {
                if let Some(value) = attribute.typed() {
                    request.add(category, attribute.id, value);
                }
            }
        }
        self.add_names(&mut request);
        if let Some(party) = self.party(parties) {
            request.add(RESOURCE, PARTY_ID, Value::Integer(party));
            request.add(RESOURCE, PARTY_ID, Value::string(party.to_string()));
            let known = roles.iter().filter(|row| row.party == party && self.is_by(&row.subject));
            for role in known.flat_map(|row| &row.roles) {
                request.add(SUBJECT, ROLE_CODE, Value::string(role));
            }
        }
        request
    }

    fn add_names(&self, request: &mut Request) {
        let Some(name) = self.resource_name() else { return };
        let missing = |id: &str| self.of_resource(id).is_none();
        if missing(RESOURCE_NAME) {
            request.add(RESOURCE, RESOURCE_NAME, Value::string(&name));
        }
        let app =
            name.get(..4).filter(|start| start.eq_ignore_ascii_case("app_")).and_then(|_| name.get(4..));
        let app = app.and_then(|app| app.split_once('_')).filter(|_| missing(ORG) || missing(APP));
        if let Some((org, app)) = app {
            request.add(RESOURCE, ORG, Value::string(org));
            request.add(RESOURCE, APP, Value::string(app));
        }
    }

    /// Whether the subject is the one that a URN names.
    fn is_by(&self, urn: &str) -> bool {
        urn.rsplit_once(':').is_some_and(|(id, value)| {
            self.subject.iter().any(|found| found.id == id && found.value == value)
        })
    }

    /// A result with what was asked back.
    pub(crate) fn result(&self, decision: &str, status: &Status<'_>, obligations: &[Json]) -> Json {
        let mut result = json!({
            "decision": decision,
            "status": {"statusMessage": status.message, "statusCode": {"value": status.code}},
            "obligations": obligations,
        });
        let categories: Vec<_> = [(SUBJECT, &self.subject), (RESOURCE, &self.resource)]
            .into_iter()
            .filter_map(|(id, attributes)| {
                let back: Vec<_> =
                    attributes.iter().filter(|found| found.is_asked_back()).map(|found| found.json).collect();
                (!back.is_empty()).then(|| json!({"categoryId": id, "attribute": back}))
            })
            .collect();
        if let Some(result) = result.as_object_mut().filter(|_| !categories.is_empty()) {
            result.insert("category".to_owned(), Json::Array(categories));
        }
        result
    }
}

/// The status of a result (XACML 3.0 core §5.54).
pub(crate) struct Status<'a> {
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
}

impl Status<'static> {
    pub(crate) const OK: Self = Self { code: "urn:oasis:names:tc:xacml:1.0:status:ok", message: "" };
}

/// An obligation of a policy as the JSON profile has it (XACML 3.0 JSON profile §5.2.4).
pub(crate) fn obligation(obligation: &Obligation) -> Json {
    let assignment = |one: &policy::Assignment| {
        json!({
            "attributeId": one.attribute_id,
            "value": one.value.text(),
            "category": one.category,
            "dataType": one.value.data_type().id(),
            "issuer": one.issuer,
        })
    };
    let assignments: Vec<_> = obligation.assignments.iter().map(assignment).collect();
    json!({ "id": obligation.id, "attributeAssignment": assignments })
}

impl Attribute<'_> {
    fn is_asked_back(&self) -> bool {
        self.json.get("includeInResult").and_then(Json::as_bool) == Some(true)
    }

    /// The value in its data type, told by identifier or by shorthand; one that no type is told of is a string (XACML 3.0 JSON
    /// profile §3.3). A value that policies cannot know is left out.
    fn typed(&self) -> Option<Value> {
        let told = self.json.get("dataType").and_then(Json::as_str).unwrap_or(DataType::String.name());
        let of_shorthand = || {
            let known = [DataType::String, DataType::Boolean, DataType::Integer, DataType::AnyUri];
            known.into_iter().find(|data_type| data_type.name() == told)
        };
        Value::parse(DataType::from_id(told).or_else(of_shorthand)?, &self.value)
    }
}

#[cfg(test)]
mod tests {
    use policy::{Decision, Policy};

    use super::*;

    /// A policy that permits when an attribute of a category has a value.
    fn permits(question: &Question<'_>, roles: &[Roles], wanted: (&str, &str, &str, DataType)) -> bool {
        let (category, id, value, data_type) = wanted;
        let xml = format!(
            r#"<Policy xmlns="urn:oasis:names:tc:xacml:3.0:core:schema:wd-17" PolicyId="p" Version="1.0"
                RuleCombiningAlgId="urn:oasis:names:tc:xacml:3.0:rule-combining-algorithm:deny-overrides"><Target>
                <AnyOf><AllOf><Match MatchId="urn:oasis:names:tc:xacml:1.0:function:{name}-equal">
                <AttributeValue DataType="{data_type}">{value}</AttributeValue><AttributeDesignator Category="{category}"
                AttributeId="{id}" DataType="{data_type}" MustBePresent="false"/></Match></AllOf></AnyOf>
                </Target><Rule RuleId="r" Effect="Permit"/></Policy>"#,
            name = data_type.name(),
            data_type = data_type.id(),
        );
        let policy = Policy::parse(&xml).unwrap();
        policy.evaluate(&question.request(&[], roles)).decision == Decision::Permit
    }

    fn body(subject: &Json, resource: &Json) -> Json {
        let action =
            json!([{"attributeId": "urn:oasis:names:tc:xacml:1.0:action:action-id", "value": "read"}]);
        json!({"request": {
            "accessSubject": [{"attribute": subject}],
            "action": [{"attribute": action}],
            "resource": [{"attribute": resource}],
        }})
    }

    #[test]
    fn an_app_and_its_resource_follow_from_each_other() {
        let string = DataType::String;
        for resource in [
            json!([{"attributeId": RESOURCE_NAME, "value": "app_ttd_apps_test"}]),
            json!([{"attributeId": ORG, "value": "ttd"}, {"attributeId": APP, "value": "apps_test"}]),
        ] {
            let body = body(&json!([]), &resource);
            let question = &questions(&body).unwrap()[0];
            for (id, value) in [(RESOURCE_NAME, "app_ttd_apps_test"), (ORG, "ttd"), (APP, "apps_test")] {
                assert!(permits(question, &[], (RESOURCE, id, value, string)), "{resource} {id}");
            }
        }
    }

    #[test]
    fn a_subject_has_its_roles_for_the_party_of_the_resource_alone() {
        let row = |subject: &str, party, role: &str| Roles {
            subject: subject.to_owned(),
            party,
            roles: vec![role.to_owned()],
        };
        let roles = [
            row("urn:altinn:userid:1", 7, "DAGL"),
            row("urn:altinn:userid:1", 8, "REGNA"),
            row("urn:altinn:userid:2", 7, "LEDE"),
        ];
        let subject = json!([{"attributeId": "urn:altinn:userid", "value": "1", "dataType": "string"}]);
        let resource = json!([{"attributeId": PARTY_ID, "value": "7", "dataType": DataType::Integer.id()}]);
        let body = body(&subject, &resource);
        let question = &questions(&body).unwrap()[0];
        for (role, expected) in [("DAGL", true), ("REGNA", false), ("LEDE", false)] {
            let wanted = (SUBJECT, ROLE_CODE, role, DataType::String);
            assert_eq!(permits(question, &roles, wanted), expected, "{role}");
        }
        for data_type in [DataType::Integer, DataType::String] {
            assert!(permits(question, &roles, (RESOURCE, PARTY_ID, "7", data_type)));
        }
    }

    #[test]
    fn a_value_is_of_the_type_that_is_told() {
        let subject = json!([
            {"attributeId": "a", "value": "1", "dataType": "integer"},
            {"attributeId": "b", "value": 1},
            {"attributeId": "c", "value": "x", "dataType": "integer"},
            {"attributeId": "d", "value": "true", "dataType": "boolean"},
            {"attributeId": "e", "value": "2026-01-01", "dataType": "date"},
        ]);
        let body = body(&subject, &json!([]));
        let question = &questions(&body).unwrap()[0];
        for (id, value, data_type, expected) in [
            ("a", "1", DataType::Integer, true),
            ("a", "1", DataType::String, false),
            ("b", "1", DataType::String, true),
            ("c", "x", DataType::String, false),
            ("d", "1", DataType::Boolean, true),
            ("e", "2026-01-01", DataType::String, false),
        ] {
            let wanted = (SUBJECT, id, value, data_type);
            assert_eq!(permits(question, &[], wanted), expected, "{id}");
        }
    }
}
