//! Who the servers run as: whoever we are, or `nobody` when we are root (Postgres refuses root; Kafka needs none of it).

use std::{
    ffi::OsString,
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::Path,
    process::{Command, Stdio},
};

/// User and group `nobody` of every Linux distribution.
const NOBODY: u32 = 65_534;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    drops_root: bool,
}

impl Account {
    pub(crate) fn current() -> Self {
        Self { drops_root: rustix::process::geteuid().is_root() }
    }

    /// Whether the servers run as another user than this process.
    pub(crate) fn drops_root(self) -> bool {
        self.drops_root
    }

    /// The command line that runs `program` as this account.
    pub(crate) fn command_line(self, program: impl Into<OsString>) -> Vec<OsString> {
        let mut line: Vec<OsString> = Vec::new();
        if self.drops_root {
            line.extend(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"].map(OsString::from),
            );
        }
        line.push(program.into());
        line
    }

    /// Whether this account can reach what lies in `folder`.
    pub(crate) fn can_enter(self, folder: &Path) -> io::Result<bool> {
        if !self.drops_root {
            return Ok(true);
        }
        let line = self.command_line("test");
        let mut command = from_line(&line);
        command.arg("-x").arg(folder).stderr(Stdio::null());
        Ok(command.status()?.success())
    }

    /// Gives a file or folder of ours, with all it holds, to this account. Links are not followed.
    pub(crate) fn give(self, path: &Path) -> io::Result<()> {
        if !self.drops_root || fs::symlink_metadata(path)?.uid() == NOBODY {
            return Ok(());
        }
        if fs::symlink_metadata(path)?.is_dir() {
            for entry in fs::read_dir(path)? {
                self.give(&entry?.path())?;
            }
        }
        lchown(path, Some(NOBODY), Some(NOBODY))
    }
}

/// A command from a whole line.
pub(crate) fn from_line(line: &[OsString]) -> Command {
    let (program, arguments) = line.split_first().expect("a command line starts with its program");
    let mut command = Command::new(program);
    command.args(arguments);
    command
}
