//! What can go wrong, each in one sentence with the command that mends it, and the folder with the logs.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why the local Kafka or Postgres is not there.
#[derive(Debug, thiserror::Error)]
#[error("{problem}\n(logs: {})", .logs.display())]
pub struct StackError {
    problem: Problem,
    logs: PathBuf,
}

impl StackError {
    /// The folder in which Kafka, Postgres and Maven write their logs.
    pub fn logs(&self) -> &Path {
        &self.logs
    }
}

pub(crate) type Result<T> = std::result::Result<T, Problem>;

/// The same without the folder, which the caller knows.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("`{tool}` is missing; install it: {}", install(.tool))]
    Missing { tool: &'static str },
    #[error("Java {found} is too old, Kafka needs 17 or newer; install it: {}", install("java"))]
    OldJava { found: u32 },
    #[error(
        "Kafka and Postgres could not be fetched from Maven Central: {reason}; when the network is there, run the same command \
         again (or set KAFKA_BROKERS and DATABASE_URL to use existing ones)"
    )]
    Fetch { reason: String },
    #[error("no Postgres is published for {platform}; start one yourself and set DATABASE_URL")]
    NoPlatform { platform: String },
    #[error("port {port}, which {what} needs, is in use; see by whom: {}", who_listens(.port))]
    PortInUse { what: &'static str, port: u16 },
    #[error(
        "the disk of {} is full: {free_mib} MiB are free, {needed_mib} needed; see what fills it: du -xh -d1 {} | sort -h", .folder.display(), .folder.display()
    )]
    DiskFull { folder: PathBuf, free_mib: u64, needed_mib: u64 },
    #[error(
        "the data in {} were written by {what} {found}, and this checkout has {ours}; use the checkout that wrote them, or start \
         with empty data: rm -r {}", .folder.display(), .folder.display()
    )]
    OtherVersion { what: &'static str, found: String, ours: String, folder: PathBuf },
    #[error("the data folder {} is in use by another process; stop that one first{}", .folder.display(), .holder)]
    FolderInUse { folder: PathBuf, holder: String },
    #[error(
        "servers do not run as root, and the unprivileged user `nobody` cannot enter {}; open the way: chmod a+x {} (and the \
         folders above it)", .folder.display(), .folder.display()
    )]
    NotEnterable { folder: PathBuf },
    #[error("the data folder {} belongs to another user; take it over: sudo chown -R $(id -un) {}", .folder.display(), .folder.display())]
    NotYours { folder: PathBuf },
    #[error("{what} ended while it started ({status}); its last line was: {last_line}")]
    Ended { what: &'static str, status: String, last_line: String },
    #[error("{what} did not answer within {seconds} s; see what keeps the machine busy: top")]
    NotReady { what: &'static str, seconds: u64 },
    #[error("{what} was not started here, so it is not stopped or started here")]
    NotOurs { what: &'static str },
    #[error("cannot {doing}: {source}")]
    Io { doing: String, source: io::Error },
}

impl Problem {
    pub(crate) fn with_logs(self, logs: &Path) -> StackError {
        StackError { problem: self, logs: logs.to_owned() }
    }
}

/// Says what was being done when an operation on files failed; a full disk is a problem of its own.
pub(crate) fn while_doing(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Problem {
    move |source| Problem::Io { doing: doing.into(), source }
}

/// A tool that cannot be started because it is not there.
pub(crate) fn starting(tool: &'static str) -> impl FnOnce(io::Error) -> Problem {
    move |source| {
        if source.kind() == io::ErrorKind::NotFound {
            return Problem::Missing { tool };
        }
        Problem::Io { doing: format!("start {tool}"), source }
    }
}

fn install(tool: &str) -> String {
    let mac = cfg!(target_os = "macos");
    let package = match (tool, mac) {
        ("java", false) => "default-jdk-headless",
        ("java", true) => "openjdk",
        ("mvn", _) => "maven",
        ("xz", false) => "xz-utils",
        ("setpriv", _) => "util-linux",
        (other, _) => other,
    };
    if mac { format!("brew install {package}") } else { format!("sudo apt-get install -y {package}") }
}

fn who_listens(port: &u16) -> String {
    if cfg!(target_os = "linux") {
        format!("ss -ltnp 'sport = :{port}'")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_names_the_folder_with_the_logs() {
        let error = Problem::Missing { tool: "mvn" }.with_logs(Path::new("/checkout/.local/logs"));
        let text = error.to_string();
        assert!(text.starts_with("`mvn` is missing; install it: "), "{text}");
        assert!(text.ends_with("(logs: /checkout/.local/logs)"), "{text}");
    }
}
