//! The shape of the workspace: who may use what, how long a file may be, that no file is forgotten.
//!
//! `deny.toml` says the same about dependencies, for cargo-deny; here it needs no tool that takes minutes to build.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Who may depend directly on a heavy dependency. `bench` measures them bare.
const OWNERS: [(&str, &[&str]); 8] = [
    ("rdkafka", &["kafka-loop", "bench"]),
    ("sqlx", &["store", "bench"]),
    ("jsonwebtoken", &["access", "local-altinn", "bench"]),
    ("cloudevents-sdk", &["event", "platform-tests", "bench"]),
    ("prometheus", &["service", "bench"]),
    ("reqwest", &["access", "altinn-events", "local-altinn", "platform-tests", "bench"]),
    ("hickory-resolver", &["dispatcher"]),
    ("quick-xml", &["policy"]),
];
const SERVICES: [&str; 4] = ["ingest", "projector", "dispatcher", "query-api"];
const LICENCES: [&str; 12] = [
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Zlib",
];
/// A second TLS stack beside rustls with aws-lc.
const OTHER_TLS: [&str; 4] = ["ring", "openssl", "openssl-sys", "native-tls"];
/// Lines of a source file without its tests; aim at 400.
const LINES_MAX: usize = 500;
const LINES_AIM: usize = 400;

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn text(value: &Value, member: &str) -> String {
    value[member].as_str().unwrap_or_default().to_owned()
}

fn list<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> {
    value[member].as_array().into_iter().flatten()
}

struct Workspace {
    packages: BTreeMap<String, Value>,
    nodes: Vec<Value>,
    members: BTreeSet<String>,
}

impl Workspace {
    fn read() -> Self {
        let host = host();
        let metadata = Command::new(env!("CARGO"))
            .args(["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", &host])
            .current_dir(root())
            .output()
            .unwrap();
        assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
        let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
        Self {
            packages: list(&metadata, "packages")
                .map(|package| (text(package, "id"), package.clone()))
                .collect(),
            nodes: list(&metadata["resolve"], "nodes").cloned().collect(),
            members: list(&metadata, "workspace_members")
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        }
    }

    fn name(&self, id: &str) -> String {
        text(&self.packages[id], "name")
    }

    fn is_member(&self, node: &Value) -> bool {
        self.members.contains(&text(node, "id"))
    }

    /// (name of a package, name of what it depends on, as a development dependency only).
    fn edges<'a>(&'a self, node: &'a Value) -> impl Iterator<Item = (String, String, bool)> + 'a {
        let from = self.name(&text(node, "id"));
        list(node, "deps").map(move |dependency| {
            let only_dev = list(dependency, "dep_kinds").all(|kind| kind["kind"] == "dev");
            (from.clone(), self.name(&text(dependency, "pkg")), only_dev)
        })
    }

    /// Names of all packages that are really linked somewhere, and who links them. Cargo also lists optional dependencies that no
    /// feature asks for.
    fn linked(&self) -> BTreeMap<String, String> {
        let nodes: BTreeMap<String, &Value> =
            self.nodes.iter().map(|node| (text(node, "id"), node)).collect();
        let mut seen: BTreeSet<String> = self.members.clone();
        let mut next: Vec<String> = seen.iter().cloned().collect();
        let mut linked = BTreeMap::new();
        while let Some(id) = next.pop() {
            for dependency in list(nodes[&id], "deps").map(|dependency| text(dependency, "pkg")) {
                let name = self.name(&dependency);
                if self.links(nodes[&id], &name) && seen.insert(dependency.clone()) {
                    linked.insert(name, self.name(&id));
                    next.push(dependency);
                }
            }
        }
        linked
    }

    /// Whether a package uses another whatever its features, or because of a feature that is on.
    fn links(&self, node: &Value, name: &str) -> bool {
        let package = &self.packages[&text(node, "id")];
        let is_member = self.is_member(node);
        list(package, "dependencies").filter(|dependency| dependency["name"] == name).any(|dependency| {
            let known_as = dependency["rename"].as_str().unwrap_or(name);
            let counts = is_member || dependency["kind"] != "dev";
            counts && (dependency["optional"] == false || has_feature_for(package, node, known_as))
        })
    }
}

fn has_feature_for(package: &Value, node: &Value, name: &str) -> bool {
    let asks = |what: &Value| {
        let what = what.as_str().unwrap_or_default();
        what == name || what == format!("dep:{name}") || what.starts_with(&format!("{name}/"))
    };
    let definitions = &package["features"];
    list(node, "features").any(|on| asks(on) || list(definitions, on.as_str().unwrap_or_default()).any(asks))
}

fn host() -> String {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// Every Rust file below a folder.
pub(crate) fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn member_folders(workspace: &Workspace) -> impl Iterator<Item = (&Value, PathBuf)> {
    workspace.members.iter().map(|id| {
        let package = &workspace.packages[id];
        (package, Path::new(&text(package, "manifest_path")).parent().unwrap().to_owned())
    })
}

fn show(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn each_heavy_dependency_has_its_owner_and_is_used_there() {
    let workspace = Workspace::read();
    let members = workspace.nodes.iter().filter(|node| workspace.is_member(node));
    let edges: Vec<_> = members.flat_map(|node| workspace.edges(node)).collect();
    for (name, owners) in OWNERS {
        let users: BTreeSet<&str> =
            edges.iter().filter(|(_, to, _)| to == name).map(|(from, ..)| from.as_str()).collect();
        let strangers: Vec<_> = users.iter().filter(|user| !owners.contains(user)).collect();
        assert!(strangers.is_empty(), "{name} belongs to {owners:?}, and {strangers:?} use it too");
        assert!(users.contains(owners[0]), "{} owns {name} and does not use it", owners[0]);
    }
}

#[test]
fn the_owners_in_deny_toml_are_the_ones_tested_here() {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    for (name, owners) in OWNERS {
        let owners = owners.iter().map(|owner| format!("\"{owner}\"")).collect::<Vec<_>>().join(", ");
        let line = format!("{{ crate = \"{name}\", wrappers = [{owners}]");
        assert!(deny.contains(&line), "deny.toml lacks: {line}");
    }
    for name in LICENCES.iter().chain(&OTHER_TLS).filter(|name| **name != "openssl-sys") {
        assert!(deny.contains(&format!("\"{name}\"")), "deny.toml does not mention {name}");
    }
}

#[test]
fn services_never_depend_on_services() {
    let workspace = Workspace::read();
    for (from, to, _) in workspace.nodes.iter().flat_map(|node| workspace.edges(node)) {
        let both = SERVICES.contains(&from.as_str()) && SERVICES.contains(&to.as_str());
        assert!(
            !both,
            "{from} depends on {to}; what passes between services goes through Kafka and Postgres"
        );
    }
}

#[test]
fn what_only_development_needs_is_not_in_the_services() {
    let workspace = Workspace::read();
    let development = ["local-stack", "local-altinn", "platform-tests", "bench"];
    for (from, to, only_dev) in workspace.nodes.iter().flat_map(|node| workspace.edges(node)) {
        let is_product =
            SERVICES.contains(&from.as_str()) || ["event", "access", "kafka-loop", "store"].contains(&&*from);
        assert!(only_dev || !is_product || !development.contains(&&*to), "{from} depends on {to}");
    }
}

#[test]
fn the_vocabulary_and_the_policies_have_no_input_and_no_output() {
    let workspace = Workspace::read();
    for (from, to, only_dev) in workspace.nodes.iter().flat_map(|node| workspace.edges(node)) {
        let does_io = ["tokio", "axum", "hyper", "reqwest", "rdkafka", "sqlx", "service"].contains(&&*to);
        let is_pure = ["event", "policy"].contains(&&*from);
        assert!(!is_pure || only_dev || !does_io, "{from} depends on {to}");
    }
}

#[test]
fn every_licence_is_one_we_allow() {
    let workspace = Workspace::read();
    let mut refused = Vec::new();
    for package in workspace.packages.values() {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        // Its manifest has no licence; the file beside it is the Apache licence, version 2.0.
        if name != "cloudevents-sdk" && !is_allowed(&licence) {
            refused.push(format!("{name}: {licence}"));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// `A OR (B AND C)`, also with the old `/` for OR.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let parts = |text: &str, word: &str| split_outside_parentheses(text, word);
    parts(&expression, " AND ").iter().all(|all| {
        let any = parts(all, " OR ");
        any.iter().any(|one| {
            let one = one.trim();
            match one.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
                Some(inner) => is_allowed(inner),
                None if one.contains(" AND ") => is_allowed(one),
                None => LICENCES.contains(&one),
            }
        })
    })
}

fn split_outside_parentheses(text: &str, word: &str) -> Vec<String> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_i32, 0);
    for (at, letter) in text.char_indices() {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        if depth == 0 && at >= start && text[at..].starts_with(word) {
            parts.push(text[start..at].to_owned());
            start = at + word.len();
        }
    }
    parts.push(text[start..].to_owned());
    parts
}

#[test]
fn a_licence_expression_is_read_as_its_author_meant_it() {
    for allowed in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT/Apache-2.0",
        "(MIT OR GPL-3.0) AND ISC",
        "Apache-2.0 WITH LLVM-exception OR X",
    ] {
        assert!(is_allowed(allowed), "{allowed}");
    }
    for refused in ["", "GPL-3.0", "MIT AND GPL-3.0", "(GPL-3.0 OR AGPL-3.0) AND MIT"] {
        assert!(!is_allowed(refused), "{refused}");
    }
}

#[test]
fn there_is_one_tls_stack() {
    let workspace = Workspace::read();
    let linked = workspace.linked();
    assert!(linked.contains_key("rustls"), "this test does not see what is linked");
    for other in OTHER_TLS {
        let by = linked.get(other);
        assert!(by.is_none(), "{by:?} links {other}; choose its aws-lc feature");
    }
    let rustls: BTreeSet<String> = workspace
        .packages
        .values()
        .filter(|package| package["name"] == "rustls")
        .map(|package| text(package, "version"))
        .collect();
    assert_eq!(rustls.len(), 1, "more than one rustls: {rustls:?}");
}

#[test]
fn every_dependency_comes_from_the_one_registry() {
    let workspace = Workspace::read();
    for package in workspace.packages.values().filter(|package| package["source"].is_string()) {
        let source = text(package, "source");
        assert!(source.starts_with("registry+"), "{} comes from {source}", text(package, "name"));
    }
}

#[test]
fn no_file_is_too_long() {
    let workspace = Workspace::read();
    let (mut too_long, mut long) = (Vec::new(), Vec::new());
    for (_, folder) in member_folders(&workspace) {
        let mut files = Vec::new();
        rust_files(&folder.join("src"), &mut files);
        for file in files {
            let source = fs::read_to_string(&file).unwrap();
            let lines = source.lines().take_while(|line| *line != "#[cfg(test)]").count();
            let is_test = file.file_name().is_some_and(|name| name == "tests.rs");
            if !is_test && lines > LINES_MAX {
                too_long.push(format!("{} ({lines})", show(&file)));
            } else if !is_test && lines > LINES_AIM {
                long.push(format!("{} ({lines})", show(&file)));
            }
        }
    }
    assert!(too_long.is_empty(), "beyond {LINES_MAX} lines: {too_long:?}; split by what changes together");
    if !long.is_empty() {
        eprintln!("beyond {LINES_AIM} lines: {long:?}");
    }
}

#[test]
fn every_rust_file_is_reachable_from_the_root_of_a_crate() {
    let workspace = Workspace::read();
    let mut forgotten = Vec::new();
    for (package, folder) in member_folders(&workspace) {
        let mut reached = BTreeSet::new();
        for target in list(package, "targets") {
            reach(Path::new(&text(target, "src_path")), true, &mut reached);
        }
        let mut files = Vec::new();
        for part in ["src", "tests", "it", "benches", "examples"] {
            rust_files(&folder.join(part), &mut files);
        }
        let of_others = |file: &PathBuf| {
            workspace.members.iter().any(|id| {
                let other =
                    Path::new(&text(&workspace.packages[id], "manifest_path")).parent().unwrap().to_owned();
                other != folder && other.starts_with(&folder) && file.starts_with(&other)
            })
        };
        forgotten.extend(
            files
                .into_iter()
                .filter(|file| !reached.contains(file) && !of_others(file))
                .map(|file| show(&file)),
        );
    }
    assert!(forgotten.is_empty(), "no module declares: {forgotten:?}");
}

/// Follows `mod name;` through files. A line of text is enough: rustfmt puts each declaration on a line of its own.
fn reach(file: &Path, is_root: bool, reached: &mut BTreeSet<PathBuf>) {
    let Ok(source) = fs::read_to_string(file) else { return };
    if !reached.insert(file.to_owned()) {
        return;
    }
    let folder = file.parent().unwrap();
    let folder = if is_root { folder.to_owned() } else { folder.join(file.file_stem().unwrap()) };
    for line in source.lines() {
        let words = line.trim().trim_start_matches("pub(crate) ").trim_start_matches("pub ");
        if let Some(name) = words.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
            reach(&folder.join(format!("{name}.rs")), false, reached);
            // What the test programs of a crate share.
            reach(&folder.join(name).join("mod.rs"), true, reached);
        }
    }
}

#[test]
fn every_crate_takes_the_workspace_lints() {
    for (_, folder) in member_folders(&Workspace::read()) {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
        assert!(manifest.contains("[lints]\nworkspace = true"), "{} has lints of its own", show(&folder));
    }
}
