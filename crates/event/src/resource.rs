//! What an event belongs to: resource URNs and the sources of apps (contract §4.1, §4.2, §4.4).

use std::str::FromStr;

use url::Url;

/// The start of every resource of an app.
pub const APP_PREFIX: &str = "urn:altinn:resource:app_";
/// The start of the resources of apps as they were once named.
const LEGACY_PREFIX: &str = "urn:altinn:resource:altinnapp.";

/// Whether the text is a URN as the contract has it (§4.4): lower case, `urn:`, a namespace of 1 to 30 letters, digits or
/// hyphens, then 1 to 10 groups of 1 to 100 characters.
pub fn is_urn(text: &str) -> bool {
    let mut groups = text.split(':');
    let start = groups.next() == Some("urn");
    let namespace = groups.next().is_some_and(|name| {
        (1..=30).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    });
    let mut count = 0;
    let good = groups.all(|group| {
        count += 1;
        (1..=100).contains(&group.len())
            && group
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"()+,.-;$_!/".contains(&b))
    });
    start && namespace && good && (1..=10).contains(&count)
}

/// The resource of an app.
pub fn app(org: &str, app: &str) -> String {
    format!("{APP_PREFIX}{org}_{app}")
}

/// The org and app of an app's resource; the app may hold underscores.
pub fn parse_app(resource: &str) -> Option<(&str, &str)> {
    let (org, app) = resource.strip_prefix(APP_PREFIX)?.split_once('_')?;
    (!org.is_empty() && !app.is_empty()).then_some((org, app))
}

/// The present name of `urn:altinn:resource:altinnapp.{org}.{app}`; nothing for any other text.
pub fn of_legacy(resource: &str) -> Option<String> {
    let (org, app) = resource.strip_prefix(LEGACY_PREFIX)?.split_once('.')?;
    (!org.is_empty() && !app.is_empty()).then(|| self::app(org, app))
}

/// Where the apps are: an app of `ttd` lives at `https://ttd.{domain}/ttd/…`. In lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppsDomain(String);

/// The text is no domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no host ends with it")]
pub struct NoDomain;

impl FromStr for AppsDomain {
    type Err = NoDomain;

    fn from_str(text: &str) -> Result<Self, NoDomain> {
        let domain = text.to_ascii_lowercase();
        let host = format!("ttd.{domain}");
        let found = Url::parse(&format!("https://{host}/")).map_err(|_| NoDomain)?;
        let is_whole = domain.split('.').all(|part| !part.is_empty());
        if is_whole && found.host_str() == Some(&host) { Ok(Self(domain)) } else { Err(NoDomain) }
    }
}

impl AppsDomain {
    /// The host of an owner's apps.
    pub fn host_of(&self, org: &str) -> String {
        format!("{org}.{}", self.0)
    }

    /// Whether the host of a source, an absolute URI, is one of the apps' hosts, or the domain itself.
    pub fn holds(&self, source: &str) -> bool {
        let host = Url::parse(source).ok().and_then(|url| url.host_str().map(str::to_owned));
        let start = host.as_deref().and_then(|host| host.strip_suffix(self.0.as_str()));
        start.is_some_and(|start| start.is_empty() || start.ends_with('.'))
    }
}

/// The parts of an app's source, `/{org}/{app}/instances/{party}/{guid}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppSource {
    /// Short name of the owner.
    pub org: String,
    /// Name of the app.
    pub app: String,
    /// Party id and instance id, when the path has them.
    pub instance: Option<(String, String)>,
}

/// Reads an app's source from an absolute URI. A path that says one thing and means another (`/a/../b`) is nobody's.
pub fn parse_app_source(source: &str) -> Option<AppSource> {
    let url = Url::parse(source).ok()?;
    let (_, after_scheme) = source.split_once("://")?;
    let (_, path) = after_scheme.split_at_checked(after_scheme.find('/')?)?;
    if !path.starts_with(url.path()) {
        return None;
    }
    let mut parts = url.path_segments()?;
    let org = parts.next().filter(|part| !part.is_empty())?.to_owned();
    let app = parts.next().filter(|part| !part.is_empty())?.to_owned();
    let instance = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some("instances"), Some(party), Some(guid), None) if !party.is_empty() && !guid.is_empty() => {
            Some((party.to_owned(), guid.to_owned()))
        }
        (_, _, _, _) => None,
    };
    Some(AppSource { org, app, instance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_of_apps_are_told_from_others_in_any_case() {
        let domain: AppsDomain = "Apps.Altinn.NO".parse().unwrap();
        assert_eq!(domain.host_of("ttd"), "ttd.apps.altinn.no");
        for source in
            ["https://ttd.apps.altinn.no/ttd/x", "https://TTD.apps.altinn.no", "https://apps.altinn.no/"]
        {
            assert!(domain.holds(source), "{source}");
        }
        for source in
            ["https://evilapps.altinn.no/", "https://apps.altinn.no.evil.example/", "apps.altinn.no", ""]
        {
            assert!(!domain.holds(source), "{source}");
        }
        for text in ["", "a b", "a/b", "apps.altinn.no:1", "apps.altinn.no#", ".no"] {
            assert_eq!(text.parse::<AppsDomain>(), Err(NoDomain), "{text}");
        }
    }

    #[test]
    fn urns_are_told_from_other_texts() {
        for good in [
            "urn:altinn:resource:app_ttd_apps-test",
            "urn:x:a",
            "urn:altinn:resource:ttd-altinn-events-automated-tests",
        ] {
            assert!(is_urn(good), "{good}");
        }
        let long = format!("urn:x{}", ":a".repeat(11));
        for wrong in
            ["urn:altinn", "urn:Altinn:resource:x", "urn:altinn:resource:", "urn:x:a b", "url:x:a", &long]
        {
            assert!(!is_urn(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_old_name_of_an_apps_resource_is_known() {
        let legacy = |name: &str| of_legacy(&format!("urn:altinn:resource:{name}"));
        assert_eq!(
            legacy("altinnapp.ttd.apps-test").as_deref(),
            Some("urn:altinn:resource:app_ttd_apps-test")
        );
        for other in ["altinnapp.ttd", "altinnapp..x", "altinnapp.ttd.", "app_ttd_apps-test", "other"] {
            assert_eq!(legacy(other), None, "{other}");
        }
    }

    #[test]
    fn an_app_is_read_from_its_source_and_its_resource() {
        let source =
            parse_app_source("https://ttd.apps.altinn.no/ttd/apps-test/instances/50001337/abc").unwrap();
        assert_eq!((source.org.as_str(), source.app.as_str()), ("ttd", "apps-test"));
        assert_eq!(source.instance, Some(("50001337".into(), "abc".into())));
        assert_eq!(parse_app("urn:altinn:resource:app_ttd_my_app"), Some(("ttd", "my_app")));
        assert_eq!(parse_app_source("https://ttd.apps.altinn.no/ttd"), None);
        assert_eq!(parse_app_source("https://ttd.apps.altinn.no/ttd/../skd/app"), None);
        assert_eq!(parse_app_source("https://ttd.apps.altinn.no/ttd/%2e%2e/skd/app"), None);
    }
}
