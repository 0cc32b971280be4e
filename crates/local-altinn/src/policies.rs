//! The policies of resources, from XML that people can edit.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context;
use policy::Policy;

const BUILT_IN: [(&str, &str); 6] = [
    ("app_ttd_apps-test", include_str!("../data/policies/app_ttd_apps-test.xml")),
    ("app_ttd_open-permits", include_str!("../data/policies/app_ttd_open-permits.xml")),
    ("app_ttd_restricted-mail", include_str!("../data/policies/app_ttd_restricted-mail.xml")),
    ("app_kve_catch-report", include_str!("../data/policies/app_kve_catch-report.xml")),
    ("kve-notices", include_str!("../data/policies/kve-notices.xml")),
    (
        "ttd-altinn-events-automated-tests",
        include_str!("../data/policies/ttd-altinn-events-automated-tests.xml"),
    ),
];

/// Policies by the name of their resource, in small letters.
#[derive(Default)]
pub(crate) struct Policies(BTreeMap<String, Policy>);

impl Policies {
    /// The built-in ones, and those of `policies/` in a folder: a file with the name of a built-in one takes its place.
    pub(crate) fn load(folder: Option<&Path>) -> anyhow::Result<Self> {
        let mut policies = Self::default();
        for (name, text) in BUILT_IN {
            policies.add(name, text)?;
        }
        let folder = folder.map(|folder| folder.join("policies")).filter(|folder| folder.is_dir());
        if let Some(folder) = folder {
            policies.add_all(&folder).with_context(|| format!("{} cannot be read", folder.display()))?;
        }
        Ok(policies)
    }

    fn add_all(&mut self, folder: &Path) -> anyhow::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|name| name.to_str());
            if let Some(name) = name.filter(|_| path.extension().is_some_and(|ending| ending == "xml")) {
                self.add(name, &fs::read_to_string(&path)?)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, name: &str, text: &str) -> anyhow::Result<()> {
        let policy = Policy::parse(text).with_context(|| format!("policies/{name}.xml has a mistake"))?;
        self.0.insert(name.to_ascii_lowercase(), policy);
        Ok(())
    }

    /// The names of their resources, in small letters.
    pub(crate) fn into_names(self) -> impl Iterator<Item = String> {
        self.0.into_keys()
    }

    /// The policy of a resource, whatever the case of its name.
    pub(crate) fn get(&self, resource: &str) -> Option<&Policy> {
        self.0.get(&resource.to_ascii_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_policy_is_named_as_its_resource() {
        let policies = Policies::load(None).unwrap();
        for (name, policy) in &policies.0 {
            assert_eq!(policy.id(), format!("urn:altinn:resource:{name}:policyid:1"));
        }
    }

    #[test]
    fn every_policy_file_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/policies");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut names: Vec<_> =
            files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        let mut built_in = BUILT_IN.map(|(name, _)| name);
        built_in.sort_unstable();
        assert_eq!(names, built_in);
    }

    #[test]
    fn a_folder_adds_and_replaces_policies_and_a_mistake_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join("policies").join(name);
        fs::create_dir(folder.path().join("policies")).unwrap();
        let text = BUILT_IN[0].1.replace(":policyid:1", ":policyid:2");
        fs::write(file("app_ttd_apps-test.xml"), &text).unwrap();
        fs::write(file("app_ttd_new.xml"), &text).unwrap();
        fs::write(file("notes.txt"), "no policy").unwrap();
        let policies = Policies::load(Some(folder.path())).unwrap();
        for name in ["app_ttd_apps-test", "APP_TTD_NEW"] {
            assert!(policies.get(name).unwrap().id().ends_with(":policyid:2"));
        }
        assert_eq!(policies.0.len(), BUILT_IN.len() + 1);
        fs::write(file("app_ttd_new.xml"), text.replace("string-equal", "string-alike")).unwrap();
        let error = Policies::load(Some(folder.path())).err().unwrap();
        let chain: Vec<_> = error.chain().map(ToString::to_string).collect();
        assert_eq!(chain[1], "policies/app_ttd_new.xml has a mistake");
        assert!(chain[2].starts_with("line ") && chain[2].contains("string-alike"), "{chain:?}");
    }
}
