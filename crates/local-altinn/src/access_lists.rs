//! Access lists of the resource registry: organisations that are approved for a resource, whatever party a question is about.
//!
//! What a list gives is the policy's business: it sees that the subject is on the list (see the README of `data/`).

use serde::Deserialize;

/// The actions of a list that is made while the stand-in runs.
const ACTION: &str = "subscribe";

/// The organisations that are approved for one resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AccessList {
    /// Name of the resource, `urn:altinn:resource:` left out.
    pub(crate) resource: String,
    /// The actions that the list counts for.
    pub(crate) actions: Vec<String>,
    /// Their numbers.
    pub(crate) organisations: Vec<String>,
}

/// All of them.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct AccessLists(pub(crate) Vec<AccessList>);

impl AccessLists {
    /// Puts an organisation on the first list of a resource, which is made when there is none.
    pub(crate) fn approve(&mut self, resource: &str, org_number: &str) {
        let known = self.0.iter_mut().find(|list| list.is_of(resource));
        match known {
            Some(list) if list.has(org_number) => {}
            Some(list) => list.organisations.push(org_number.to_owned()),
            None => self.0.push(AccessList {
                resource: resource.to_owned(),
                actions: vec![ACTION.to_owned()],
                organisations: vec![org_number.to_owned()],
            }),
        }
    }

    /// Takes an organisation off all lists of a resource; false when it was on none.
    pub(crate) fn withdraw(&mut self, resource: &str, org_number: &str) -> bool {
        let mut withdrawn = false;
        for list in self.0.iter_mut().filter(|list| list.is_of(resource)) {
            withdrawn |= list.has(org_number);
            list.organisations.retain(|known| known != org_number);
        }
        withdrawn
    }

    /// The resource as its list writes it, when one of these organisations is approved for it and the list counts for the action.
    pub(crate) fn approved(&self, resource: &str, action: &str, org_numbers: &[&str]) -> Option<&str> {
        let mut lists = self.0.iter().filter(|list| list.is_of(resource));
        let approves = |list: &&AccessList| {
            list.actions.iter().any(|known| known == action)
                && org_numbers.iter().any(|number| list.has(number))
        };
        lists.find(approves).map(|list| list.resource.as_str())
    }
}

impl AccessList {
    fn is_of(&self, resource: &str) -> bool {
        self.resource.eq_ignore_ascii_case(resource)
    }

    fn has(&self, org_number: &str) -> bool {
        self.organisations.iter().any(|known| known == org_number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_counts_for_its_resource_its_actions_and_its_organisations() {
        let mut lists = AccessLists::default();
        lists.approve("Notices", "1");
        lists.approve("notices", "2");
        lists.approve("notices", "2");
        assert_eq!(lists.0.len(), 1);
        for (resource, action, numbers, expected) in [
            ("notices", "subscribe", &["9", "2"][..], Some("Notices")),
            ("notices", "subscribe", &["9"], None),
            ("notices", "subscribe", &[], None),
            ("notices", "read", &["1"], None),
            ("other", "subscribe", &["1"], None),
        ] {
            assert_eq!(
                lists.approved(resource, action, numbers),
                expected,
                "{resource} {action} {numbers:?}"
            );
        }
        assert!(lists.withdraw("NOTICES", "2") && !lists.withdraw("notices", "2"));
        assert_eq!(lists.approved("notices", "subscribe", &["2"]), None);
        assert_eq!(lists.approved("notices", "subscribe", &["1"]), Some("Notices"));
    }
}
