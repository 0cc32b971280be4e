//! What the stand-in knows: parties, roles, access lists and policies, from files that people can edit.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{access_lists::AccessLists, policies::Policies};

const PARTIES: &str = include_str!("../data/parties.json");
const ROLES: &str = include_str!("../data/roles.json");
const ACCESS_LISTS: &str = include_str!("../data/access-lists.json");

/// A person or an organisation. All numbers are synthetic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Party {
    /// Number of the party.
    pub party_id: i64,
    /// Id of the party.
    pub party_uuid: String,
    /// What it is called.
    pub name: String,
    /// Organisation number, for organisations.
    pub org_number: Option<String>,
    /// Person number, for persons.
    pub person_number: Option<String>,
    /// Number of the person's user.
    pub user_id: Option<i64>,
    /// Short name of a service owner.
    pub org: Option<String>,
    /// Organisation number of the main unit, for sub-units.
    pub main_unit: Option<String>,
    /// Ids of the system users of an organisation.
    #[serde(default)]
    pub system_users: Vec<String>,
}

impl Party {
    /// What kind of party it is, as Register names it.
    pub(crate) const fn kind(&self) -> &'static str {
        if self.person_number.is_some() { "person" } else { "organization" }
    }
}

/// The roles that somebody has for a party.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Roles {
    /// Who has them: the name and the value of a subject's attribute, as a URN.
    pub(crate) subject: String,
    /// Number of the party that they are for.
    pub(crate) party: i64,
    /// Their codes.
    pub(crate) roles: Vec<String>,
}

/// A right that is given while the stand-in runs, beside the policies: who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Subject attributes that must all be there, by name; empty means everybody.
    pub subject: BTreeMap<String, String>,
    /// `publish`, `read`, `subscribe`.
    pub actions: Vec<String>,
    /// The resource, for instance `urn:altinn:resource:app_ttd_apps-test`.
    pub resource: String,
    /// The only party it holds for; absent means every party, and questions without one.
    #[serde(default)]
    pub party: Option<i64>,
    /// Least authentication level, told as an obligation.
    #[serde(default)]
    pub minimum_authentication_level: Option<u8>,
    /// The same for service owners.
    #[serde(default)]
    pub minimum_authentication_level_org: Option<u8>,
}

impl Rule {
    /// A rule for one subject attribute.
    pub fn new(subject: (&str, &str), actions: &[&str], resource: &str) -> Self {
        Self {
            subject: BTreeMap::from([(subject.0.to_owned(), subject.1.to_owned())]),
            actions: actions.iter().map(|action| (*action).to_owned()).collect(),
            resource: resource.to_owned(),
            ..Self::default()
        }
    }

    /// The same for one party only.
    #[must_use]
    pub fn for_party(mut self, party_id: i64) -> Self {
        self.party = Some(party_id);
        self
    }

    /// The same with a least authentication level.
    #[must_use]
    pub fn at_level(mut self, level: u8) -> Self {
        self.minimum_authentication_level = Some(level);
        self
    }

    /// The same with another least level for service owners.
    #[must_use]
    pub fn at_level_for_orgs(mut self, level: u8) -> Self {
        self.minimum_authentication_level_org = Some(level);
        self
    }
}

pub(crate) struct Data {
    pub(crate) parties: Arc<Vec<Party>>,
    pub(crate) roles: Vec<Roles>,
    pub(crate) access_lists: AccessLists,
    pub(crate) policies: Policies,
}

impl Data {
    /// Built-in data, or what a folder holds in its place; a file that is not there keeps the built-in one.
    pub(crate) fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let has_rules = folder.is_some_and(|folder| folder.join("rules.json").exists());
        ensure!(
            !has_rules,
            "rules.json of the local Altinn is not read any more: rights are in policies/*.xml"
        );
        Ok(Self {
            parties: Arc::new(read(folder, "parties.json", PARTIES)?),
            roles: read(folder, "roles.json", ROLES)?,
            access_lists: read(folder, "access-lists.json", ACCESS_LISTS)?,
            policies: Policies::load(folder)?,
        })
    }
}

fn read<T: DeserializeOwned>(folder: Option<&Path>, name: &str, built_in: &str) -> anyhow::Result<T> {
    let path = folder.map(|folder| folder.join(name)).filter(|path| path.exists());
    let text = match &path {
        Some(path) => {
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?
        }
        None => built_in.to_owned(),
    };
    serde_json::from_str(&text).with_context(|| format!("{name} of the local Altinn has a mistake"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built_in() -> Data {
        Data::load(None).unwrap()
    }

    /// What is missing to a multiple of 11; nothing when no figure can mend it.
    fn check_figure(figures: &[u32], weights: &[u32]) -> Option<u32> {
        let sum: u32 = figures.iter().zip(weights).map(|(figure, weight)| figure * weight).sum();
        Some((11 - sum % 11) % 11).filter(|figure| *figure < 10)
    }

    fn figures(number: &str) -> Vec<u32> {
        number.chars().map(|figure| figure.to_digit(10).unwrap()).collect()
    }

    #[test]
    fn the_built_in_data_knows_what_existing_examples_use() {
        let data = built_in();
        let ttd = data.parties.iter().find(|party| party.org.as_deref() == Some("ttd")).unwrap();
        assert_eq!(ttd.org_number.as_deref(), Some("991825827"));
        let person = data.parties.iter().find(|party| party.user_id == Some(1337)).unwrap();
        assert_eq!(person.party_id, 50_001_337);
        assert!(data.policies.get("ttd-altinn-events-automated-tests").is_some());
    }

    #[test]
    fn every_person_number_is_synthetic_and_its_check_figures_are_right() {
        for number in built_in().parties.iter().filter_map(|party| party.person_number.as_deref()) {
            let month: u8 = number[2..4].parse().unwrap();
            assert!((81..=92).contains(&month), "the month of a synthetic number is raised by 80");
            let figures = figures(number);
            assert_eq!(figures.len(), 11);
            let first = check_figure(&figures[..9], &[3, 7, 6, 1, 8, 9, 4, 5, 2]);
            let second = check_figure(&figures[..10], &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
            assert_eq!((first, second), (Some(figures[9]), Some(figures[10])), "{number}");
        }
    }

    #[test]
    fn every_organisation_number_is_of_the_test_range_and_its_check_figure_is_right() {
        for number in built_in().parties.iter().filter_map(|party| party.org_number.as_deref()) {
            let figures = figures(number);
            assert!(figures.len() == 9 && (figures[0] == 3 || number == "991825827"), "{number}");
            assert_eq!(check_figure(&figures[..8], &[3, 2, 7, 6, 5, 4, 3, 2]), Some(figures[8]), "{number}");
        }
    }

    #[test]
    fn nobody_is_there_twice_and_roles_are_those_of_known_parties() {
        let data = built_in();
        let unique = |values: Vec<String>| {
            let count = values.len();
            assert_eq!(values.into_iter().collect::<std::collections::BTreeSet<_>>().len(), count);
        };
        let parties = || data.parties.iter();
        unique(parties().map(|party| party.party_id.to_string()).collect());
        unique(parties().map(|party| party.party_uuid.clone()).collect());
        unique(parties().filter_map(|party| party.user_id.map(|id| id.to_string())).collect());
        unique(parties().filter_map(|party| party.org_number.clone()).collect());
        unique(parties().filter_map(|party| party.person_number.clone()).collect());
        unique(parties().flat_map(|party| party.system_users.clone()).collect());
        unique(data.roles.iter().map(|row| format!("{} {}", row.subject, row.party)).collect());
        for row in &data.roles {
            assert!(parties().any(|party| party.party_id == row.party), "{row:?}");
            let (id, value) = row.subject.rsplit_once(':').unwrap();
            assert!(match id {
                "urn:altinn:userid" => parties().any(|party| party.user_id == value.parse().ok()),
                "urn:altinn:organization:identifier-no" =>
                    parties().any(|party| party.org_number.as_deref() == Some(value)),
                "urn:altinn:systemuser:uuid" =>
                    parties().any(|party| party.system_users.iter().any(|id| id == value)),
                _other => false,
            });
        }
    }

    #[test]
    fn access_lists_are_of_known_resources_and_organisations() {
        let data = built_in();
        let lists = &data.access_lists;
        for list in &lists.lists {
            let owner = list.id.split_once(':').map(|(owner, _)| owner);
            assert!(data.parties.iter().any(|party| party.org.as_deref() == owner), "{list:?}");
            let known =
                |number: &String| data.parties.iter().any(|party| party.org_number.as_ref() == Some(number));
            assert!(list.organisations.iter().all(known), "{list:?}");
        }
        for restricted in &lists.restricted {
            assert!(data.policies.get(&restricted.resource).is_some(), "{restricted:?}");
        }
    }

    #[test]
    fn a_folder_replaces_single_files_and_a_mistake_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("roles.json"), "[]").unwrap();
        let data = Data::load(Some(folder.path())).unwrap();
        assert!(data.roles.is_empty() && !data.parties.is_empty());
        std::fs::write(folder.path().join("roles.json"), r#"[{"subjects": {}}]"#).unwrap();
        let error = Data::load(Some(folder.path())).err().unwrap();
        assert_eq!(error.to_string(), "roles.json of the local Altinn has a mistake");
        std::fs::write(folder.path().join("roles.json"), "[]").unwrap();
        std::fs::write(folder.path().join("access-lists.json"), r#"{"lists": [{"id": "x", "orgs": []}]}"#)
            .unwrap();
        let error = Data::load(Some(folder.path())).err().unwrap();
        assert_eq!(error.to_string(), "access-lists.json of the local Altinn has a mistake");
        std::fs::write(folder.path().join("rules.json"), "[]").unwrap();
        let error = Data::load(Some(folder.path())).err().unwrap();
        assert!(error.to_string().contains("policies/*.xml"), "{error}");
    }
}
