//! One question of a request in the XACML JSON profile: read, and made ready for a policy (contract §3.1, §3.4).

use policy::{ACTION, DataType, RESOURCE, Request, SUBJECT, Value};
use serde_json::{Value as Json, json};

use crate::{
    access_lists::AccessLists,
    data::{Party, Roles},
    fault::Fault,
};

const RESOURCE_NAME: &str = "urn:altinn:resource";
const ORG: &str = "urn:altinn:org";
const APP: &str = "urn:altinn:app";
const INSTANCES: [&str; 2] = ["urn:altinn:resource:instance-id", "urn:altinn:instance-id"];
const PARTY_UUID: &str = "urn:altinn:party:uuid";
const PARTY_TYPE: &str = "urn:altinn:partytype";
const ROLE_CODE: &str = "urn:altinn:rolecode";
const ACCESS_LIST: &str = "urn:altinn:access-list";
const PARTY_ID: &str = "urn:altinn:partyid";
const USER_ID: &str = "urn:altinn:userid";
const PERSON_NUMBER: &str = "urn:altinn:person:identifier-no";
const ORGANISATION_NUMBER: &str = "urn:altinn:organization:identifier-no";
const SYSTEM_USER: &str = "urn:altinn:systemuser:uuid";

/// What is known of who asks and of whom it is about.
pub(crate) struct World<'a> {
    pub(crate) parties: &'a [Party],
    pub(crate) roles: &'a [Roles],
    pub(crate) access_lists: &'a AccessLists,
}

pub(crate) struct Question<'a> {
    pub(crate) subject: Vec<Attribute<'a>>,
    pub(crate) action: Vec<Attribute<'a>>,
    pub(crate) resource: Vec<Attribute<'a>>,
}

pub(crate) struct Attribute<'a> {
    pub(crate) id: &'a str,
    pub(crate) value: String,
    pub(crate) json: &'a Json,
}

/// The questions of a request; fewer than two references make it a single one.
pub(crate) fn questions(body: &Json) -> Result<Vec<Question<'_>>, Fault> {
    let request = body.get("request").ok_or(Fault::Unreadable)?;
    let references = request.pointer("/multiRequests/requestReference").and_then(Json::as_array);
    let Some(references) = references.filter(|references| references.len() > 1) else {
        let first = |name: &str| request.get(name)?.as_array()?.first();
        return Ok(vec![question(first("accessSubject"), first("action"), first("resource"))?]);
    };
    let named = |category: &str, ids: &Vec<Json>| {
        let mut known = request.get(category)?.as_array()?.iter();
        known.find(|found| found.get("id").is_some_and(|id| ids.contains(id)))
    };
    let of_reference = |reference: &Json| {
        let ids = reference.get("referenceId").and_then(Json::as_array).ok_or(Fault::Unreadable)?;
        Ok((named("accessSubject", ids), named("action", ids), named("resource", ids)))
    };
    references
        .iter()
        .map(|reference| {
            let (subject, action, resource) = of_reference(reference)?;
            question(subject, action, resource)
        })
        .collect()
}

fn question<'a>(
    subject: Option<&'a Json>,
    action: Option<&'a Json>,
    resource: Option<&'a Json>,
) -> Result<Question<'a>, Fault> {
    let subject = subject.map_or(Ok(Vec::new()), attributes)?;
    let action = attributes(action.ok_or(Fault::Unreadable)?)?;
    action.first().ok_or(Fault::Unreadable)?;
    Ok(Question { subject, action, resource: attributes(resource.ok_or(Fault::Unreadable)?)? })
}

fn attributes(category: &Json) -> Result<Vec<Attribute<'_>>, Fault> {
    let list = category.get("attribute").and_then(Json::as_array).ok_or(Fault::Unreadable)?;
    list.iter().map(attribute).collect()
}

fn attribute(json: &Json) -> Result<Attribute<'_>, Fault> {
    let value = json.get("value").filter(|value| !value.is_null()).ok_or(Fault::NullValue)?;
    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let id = json.get("attributeId").and_then(Json::as_str).ok_or(Fault::Unreadable)?;
    Ok(Attribute { id, value, json })
}

impl Question<'_> {
    pub(crate) fn action(&self) -> &str {
        self.action.first().map_or("", |action| &action.value)
    }

    /// What throws, whatever its policy says. Whether its resource is known is the decision point's business.
    pub(crate) fn fault(&self, parties: &[Party]) -> Option<Fault> {
        let subject = |id: &'static str| self.subject.iter().filter(move |found| found.id == id);
        let resource = |id: &'static str| self.resource.iter().filter(move |found| found.id == id);
        let is_unknown =
            |number: &str| !parties.iter().any(|party| party.org_number.as_deref() == Some(number));
        let named_otherwise = || resource(PARTY_ID).chain(resource(ORGANISATION_NUMBER)).next().is_some();
        let faults = [
            (self.subject.is_empty(), Fault::NoSubject),
            (self.all().any(|found| !found.has_known_type()), Fault::DataType),
            (subject(SYSTEM_USER).next().is_some() && self.subject.len() > 1, Fault::SystemUserBesideOthers),
            (subject(USER_ID).any(|found| found.value.parse::<i64>().is_err()), Fault::UserId),
            (
                subject(PERSON_NUMBER).next().is_some()
                    || (resource(PERSON_NUMBER).next().is_some() && !named_otherwise()),
                Fault::PersonNumber,
            ),
            (
                subject(ORGANISATION_NUMBER)
                    .chain(resource(ORGANISATION_NUMBER))
                    .any(|found| is_unknown(&found.value)),
                Fault::UnknownOrganisation,
            ),
        ];
        faults.into_iter().find(|(is_there, _)| *is_there).map(|(_, fault)| fault)
    }

    /// The attributes that were asked back, without the ids of their categories.
    pub(crate) fn asked_back(&self) -> Vec<Json> {
        let of = |attributes: &[Attribute<'_>]| {
            let back: Vec<_> =
                attributes.iter().filter(|found| found.is_asked_back()).map(|found| found.json).collect();
            (!back.is_empty())
                .then(|| json!({"categoryId": null, "id": null, "content": null, "attribute": back}))
        };
        [&self.subject, &self.action, &self.resource].into_iter().filter_map(|list| of(list)).collect()
    }

    /// Every attribute of every category.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Attribute<'_>> {
        self.subject.iter().chain(&self.action).chain(&self.resource)
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

    /// The party that the resource is about, known or not: told by its id, by the number of the organisation, or by its UUID. A
    /// UUID that nobody has is as if there were none.
    pub(crate) fn party(&self, parties: &[Party]) -> Option<i64> {
        if let Some(party) = self.of_resource(PARTY_ID) {
            return party.parse().ok();
        }
        let (number, uuid) = (self.of_resource(ORGANISATION_NUMBER), self.of_resource(PARTY_UUID));
        let is_it = |party: &&Party| {
            (number.is_some() && party.org_number.as_deref() == number)
                || uuid == Some(party.party_uuid.as_str())
        };
        parties.iter().find(is_it).map(|party| party.party_id)
    }

    /// Who asks, as far as rules on lists and on kinds of parties see it: by organisation number, by UUID, or by the profile of a
    /// user; never as a service owner, by party id or as a system user.
    fn asker<'a>(&self, parties: &'a [Party]) -> Option<&'a Party> {
        let is_it = |party: &&Party| {
            self.subject.iter().any(|found| match found.id {
                ORGANISATION_NUMBER => party.org_number.as_ref() == Some(&found.value),
                PARTY_UUID => party.party_uuid == found.value,
                USER_ID => party.user_id.is_some_and(|id| id.to_string() == found.value),
                _other => false,
            })
        };
        parties.iter().find(is_it)
    }

    /// Whether the question is about a resource of the registry alone: no party, no instance, no app.
    fn is_of_a_resource_alone(&self, parties: &[Party]) -> bool {
        let is_there = |id: &str| self.of_resource(id).is_some();
        self.of_resource(RESOURCE_NAME).is_some_and(|name| !is_app(name))
            && self.party(parties).is_none()
            && ![ORG, APP].into_iter().chain(INSTANCES).any(is_there)
    }

    /// What a policy is asked: the attributes as they came, and what follows from them, as the real decision point adds it: the app
    /// of a resource and the resource of an app, the party by its number, the roles that the subject has for that party; without a
    /// party the kind and the access lists of the subject.
    pub(crate) fn request(&self, world: &World<'_>) -> Request {
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
        if let Some(party) = self.party(world.parties) {
            request.add(RESOURCE, PARTY_ID, Value::Integer(party));
            request.add(RESOURCE, PARTY_ID, Value::string(party.to_string()));
            let known = world.roles.iter().filter(|row| row.party == party && self.is_by(&row.subject));
            for role in known.flat_map(|row| &row.roles) {
                request.add(SUBJECT, ROLE_CODE, Value::string(role));
            }
        }
        if self.is_of_a_resource_alone(world.parties)
            && let Some(asker) = self.asker(world.parties)
        {
            request.add(SUBJECT, PARTY_TYPE, Value::string(asker.kind()));
            for list in asker.org_number.iter().flat_map(|number| world.access_lists.of(number)) {
                request.add(SUBJECT, ACCESS_LIST, Value::string(list));
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
            Some(name.as_str()).filter(|name| is_app(name)).and_then(|name| name.get(APP_START.len()..));
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
}

const APP_START: &str = "app_";

/// Whether a resource is an app's, whatever the case of its name.
pub(crate) fn is_app(resource: &str) -> bool {
    resource.get(..APP_START.len()).is_some_and(|start| start.eq_ignore_ascii_case(APP_START))
}

impl Attribute<'_> {
    fn is_asked_back(&self) -> bool {
        self.json.get("includeInResult").and_then(Json::as_bool) == Some(true)
    }

    fn has_known_type(&self) -> bool {
        self.data_type().is_some()
    }

    /// The data type, told by identifier or by shorthand; one that no type is told of is a string (XACML 3.0 JSON profile §3.3).
    fn data_type(&self) -> Option<DataType> {
        let told = self.json.get("dataType").and_then(Json::as_str).unwrap_or(DataType::String.name());
        let of_shorthand = || {
            let known = [DataType::String, DataType::Boolean, DataType::Integer, DataType::AnyUri];
            known.into_iter().find(|data_type| data_type.name() == told)
        };
        DataType::from_id(told).or_else(of_shorthand)
    }

    /// The value in its data type; nothing when it is none of it.
    fn typed(&self) -> Option<Value> {
        Value::parse(self.data_type()?, &self.value)
    }
}

#[cfg(test)]
mod tests {
    use policy::{Decision, Policy};
    use serde_json::json;

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
        let access_lists = AccessLists::default();
        let world = World { parties: &[], roles, access_lists: &access_lists };
        policy.evaluate(&question.request(&world)).decision == Decision::Permit
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
        ]);
        let body = body(&subject, &json!([]));
        let question = &questions(&body).unwrap()[0];
        for (id, value, data_type, expected) in [
            ("a", "1", DataType::Integer, true),
            ("a", "1", DataType::String, false),
            ("b", "1", DataType::String, true),
            ("c", "x", DataType::String, false),
            ("d", "1", DataType::Boolean, true),
        ] {
            let wanted = (SUBJECT, id, value, data_type);
            assert_eq!(permits(question, &[], wanted), expected, "{id}");
        }
    }
}
