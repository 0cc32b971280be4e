//! Access lists of the resource registry: organisations by name of a list.
//!
//! A list does one of two things (contract §3.8). Connected to a resource it *restricts*: a permit stands only where the party of
//! the resource is on one of its lists. Named as subject by a rule of a policy it *grants*, for questions that name the resource and
//! neither party, instance nor app; the decision point tells the policy which lists the subject is on.

use serde::Deserialize;

/// Organisations under one name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AccessList {
    /// `{owner}:{name}`.
    pub(crate) id: String,
    /// Their numbers.
    pub(crate) organisations: Vec<String>,
}

/// A resource whose `accessListMode` is `Enabled`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Restricted {
    /// Name of the resource, `urn:altinn:resource:` left out.
    pub(crate) resource: String,
    /// The lists that are connected to it: alternatives, and nobody's without one.
    pub(crate) lists: Vec<Connection>,
}

/// A list at a resource.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Connection {
    /// Which list.
    pub(crate) id: String,
    /// The actions that it counts for; none means all.
    #[serde(default)]
    pub(crate) actions: Vec<String>,
}

/// All of them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct AccessLists {
    pub(crate) lists: Vec<AccessList>,
    pub(crate) restricted: Vec<Restricted>,
    /// The registry does not tell who is on a list.
    #[serde(skip)]
    pub(crate) is_silent: bool,
}

impl AccessLists {
    /// Puts an organisation on a list, which is made when there is none.
    pub(crate) fn approve(&mut self, id: &str, org_number: &str) {
        match self.lists.iter_mut().find(|list| list.id == id) {
            Some(list) if list.has(org_number) => {}
            Some(list) => list.organisations.push(org_number.to_owned()),
            None => {
                self.lists.push(AccessList { id: id.to_owned(), organisations: vec![org_number.to_owned()] })
            }
        }
    }

    /// Takes an organisation off a list; false when it was not on it.
    pub(crate) fn withdraw(&mut self, id: &str, org_number: &str) -> bool {
        let Some(list) = self.lists.iter_mut().find(|list| list.id == id) else { return false };
        let was_on_it = list.has(org_number);
        list.organisations.retain(|known| known != org_number);
        was_on_it
    }

    /// Connects a list to a resource, for these actions or, without any, for all.
    pub(crate) fn restrict(&mut self, resource: &str, id: &str, actions: &[&str]) {
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        let connection = Connection { id: id.to_owned(), actions };
        match self.restricted.iter_mut().find(|known| known.is_of(resource)) {
            Some(known) => known.lists.push(connection),
            None => {
                self.restricted.push(Restricted { resource: resource.to_owned(), lists: vec![connection] });
            }
        }
    }

    /// Whether permits for this resource need a party that is on a list.
    pub(crate) fn is_restricted(&self, resource: &str) -> bool {
        self.restricted.iter().any(|known| known.is_of(resource))
    }

    /// Whether the party of a restricted resource is on one of its lists. A party that is no organisation is on none, and so is
    /// everybody while the registry does not tell.
    pub(crate) fn admits(&self, resource: &str, action: &str, org_number: Option<&str>) -> bool {
        let Some(org_number) = org_number.filter(|_| !self.is_silent) else { return false };
        let of_resource = self.restricted.iter().filter(|known| known.is_of(resource));
        of_resource
            .flat_map(|known| &known.lists)
            .filter(|one| one.actions.is_empty() || one.actions.iter().any(|known| known == action))
            .any(|one| self.lists.iter().any(|list| list.id == one.id && list.has(org_number)))
    }

    /// The lists that an organisation is on.
    pub(crate) fn of<'a>(&'a self, org_number: &'a str) -> impl Iterator<Item = &'a str> {
        self.lists.iter().filter(move |list| list.has(org_number)).map(|list| list.id.as_str())
    }
}

impl AccessList {
    fn has(&self, org_number: &str) -> bool {
        self.organisations.iter().any(|known| known == org_number)
    }
}

impl Restricted {
    fn is_of(&self, resource: &str) -> bool {
        self.resource.eq_ignore_ascii_case(resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organisations_come_onto_a_list_and_off_it() {
        let mut lists = AccessLists::default();
        lists.approve("ttd:a", "1");
        lists.approve("ttd:b", "1");
        lists.approve("ttd:a", "2");
        lists.approve("ttd:a", "2");
        assert_eq!(lists.of("1").collect::<Vec<_>>(), ["ttd:a", "ttd:b"]);
        assert!(lists.withdraw("ttd:a", "2") && !lists.withdraw("ttd:a", "2"));
        assert!(!lists.withdraw("ttd:c", "1"));
        assert_eq!(lists.of("2").count(), 0);
    }

    #[test]
    fn lists_of_a_resource_are_alternatives_and_no_actions_mean_all() {
        let mut lists = AccessLists::default();
        lists.approve("ttd:all", "1");
        lists.approve("ttd:read", "2");
        lists.restrict("Notices", "ttd:all", &[]);
        lists.restrict("notices", "ttd:read", &["read"]);
        assert!(lists.is_restricted("NOTICES") && !lists.is_restricted("other"));
        for (action, number, expected) in [
            ("read", Some("1"), true),
            ("subscribe", Some("1"), true),
            ("read", Some("2"), true),
            ("subscribe", Some("2"), false),
            ("read", Some("3"), false),
            ("read", None, false),
        ] {
            assert_eq!(lists.admits("notices", action, number), expected, "{action} {number:?}");
        }
        lists.is_silent = true;
        assert!(!lists.admits("notices", "read", Some("1")));
    }
}
