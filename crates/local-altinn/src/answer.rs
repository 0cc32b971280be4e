//! Results in the XACML JSON profile, with the members that the real decision point sends: all of them, null where empty
//! (contract §3.8).

use policy::Obligation;
use serde_json::{Value as Json, json};

/// The status of a result (XACML 3.0 core §5.54).
pub(crate) struct Status<'a> {
    pub(crate) code: &'a str,
    pub(crate) message: &'a str,
}

impl Status<'static> {
    pub(crate) const OK: Self = Self { code: "urn:oasis:names:tc:xacml:1.0:status:ok", message: "" };
}

/// A result that tells neither obligations nor what was asked back.
pub(crate) fn bare(decision: &str, status: &Status<'_>) -> Json {
    whole(decision, status, Json::Null, Json::Null)
}

/// A result with what was asked back; obligations come on Permit only.
pub(crate) fn told(
    decision: &str,
    status: &Status<'_>,
    obligations: Vec<Json>,
    asked_back: Vec<Json>,
) -> Json {
    let obligations = if decision == "Permit" { obligations } else { Vec::new() };
    whole(decision, status, or_null(obligations), or_null(asked_back))
}

fn whole(decision: &str, status: &Status<'_>, obligations: Json, category: Json) -> Json {
    json!({
        "decision": decision,
        "status": {
            "statusMessage": (!status.message.is_empty()).then_some(status.message),
            "statusDetails": null,
            "statusCode": {"value": status.code, "statusCode": null},
        },
        "obligations": obligations,
        "associateAdvice": null,
        "category": category,
        "policyIdentifierList": null,
    })
}

fn or_null(list: Vec<Json>) -> Json {
    if list.is_empty() { Json::Null } else { Json::Array(list) }
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
