//! What the stand-in knows: parties and rules, from JSON that people can edit.

use std::{collections::BTreeMap, path::Path};

use anyhow::Context;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

const PARTIES: &str = include_str!("../data/parties.json");
const RULES: &str = include_str!("../data/rules.json");

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
}

/// Who may do what: a row of the table that the decision point answers from.
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
    pub(crate) parties: Vec<Party>,
    pub(crate) rules: Vec<Rule>,
}

impl Data {
    /// Built-in data, or what a folder holds in its place; a file that is not there keeps the built-in one.
    pub(crate) fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        Ok(Self {
            parties: read(folder, "parties.json", PARTIES)?,
            rules: read(folder, "rules.json", RULES)?,
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

    #[test]
    fn the_built_in_data_knows_what_existing_examples_use() {
        let data = Data::load(None).unwrap();
        let ttd = data.parties.iter().find(|party| party.org.as_deref() == Some("ttd")).unwrap();
        assert_eq!(ttd.org_number.as_deref(), Some("991825827"));
        let person = data.parties.iter().find(|party| party.user_id == Some(1337)).unwrap();
        assert_eq!(person.party_id, 50_001_337);
        assert!(data.rules.iter().any(|rule| rule.resource.ends_with(":ttd-altinn-events-automated-tests")));
    }

    #[test]
    fn every_person_number_is_synthetic() {
        for number in
            Data::load(None).unwrap().parties.iter().filter_map(|party| party.person_number.as_deref())
        {
            let month: u8 = number[2..4].parse().unwrap();
            assert!((81..=92).contains(&month), "the month of a synthetic number is raised by 80");
        }
    }

    #[test]
    fn a_folder_replaces_single_files_and_a_mistake_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("rules.json"), "[]").unwrap();
        let data = Data::load(Some(folder.path())).unwrap();
        assert!(data.rules.is_empty() && !data.parties.is_empty());
        std::fs::write(folder.path().join("rules.json"), r#"[{"subjects": {}}]"#).unwrap();
        let error = Data::load(Some(folder.path())).err().unwrap();
        assert_eq!(error.to_string(), "rules.json of the local Altinn has a mistake");
    }
}
