//! What the figures were taken on and of, and what has to be there before.

use std::process::Command;

use anyhow::Context;
use rustix::process::{Resource, getrlimit, setrlimit};

/// The processor, its cores, the memory, and how busy the machine was before.
pub(crate) fn machine() -> String {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = value(&file("/proc/cpuinfo"), "model name");
    let memory = value(&file("/proc/meminfo"), "MemTotal");
    let load = file("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or_default();
    format!("{cores} cores, {model}, {memory} of memory, load {load} before the run")
}

/// The commit, marked when the tree differs from it.
pub(crate) fn commit() -> String {
    let git = |arguments: &[&str]| {
        let out = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        out.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changed = if git(&["status", "--porcelain"]).is_empty() { "" } else { " with changes" };
    format!("{}{changed}", git(&["rev-parse", "--short", "HEAD"]))
}

/// Both ends of every connection are ours, so there are many files.
pub(crate) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("bench: the bound of open files stays: {error}");
    }
}

/// The rows with child processes need the binary of the services beside this one, of the same sources.
pub(crate) fn build_the_services() -> anyhow::Result<()> {
    let cargo = option_env!("CARGO").unwrap_or("cargo");
    let mut folder = std::env::current_exe()?;
    // target/release/bench: the target folder is two levels up.
    folder.pop();
    folder.pop();
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--release", "-p", "bench", "-p", "altinn-events"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", folder)
        .status()
        .with_context(|| format!("{cargo} does not run"))?;
    anyhow::ensure!(built.success(), "the services do not build");
    Ok(())
}
