//! A child process that never outlives us.
//!
//! Between us and the child stands a shell (`watchdog.sh`) that holds the reading end of a pipe. The writing end is ours alone;
//! when we are gone, also by `kill -9`, the pipe ends and the shell kills the child. The child is in a process group of its own,
//! so that Ctrl-C in a terminal reaches us and not the child.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

/// How a child is started.
#[derive(Debug)]
pub(crate) struct Spec<'a> {
    pub(crate) line: &'a [OsString],
    pub(crate) pid_file: &'a Path,
    /// Removed with all it holds when the child ends because we ended.
    pub(crate) remove: Option<&'a Path>,
    pub(crate) log: File,
}

#[derive(Debug)]
pub(crate) struct Watched {
    shell: Child,
    pipe: ChildStdin,
}

impl Watched {
    pub(crate) fn start(spec: Spec<'_>) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .arg("-c")
            .arg(include_str!("watchdog.sh"))
            .arg("watchdog")
            .arg(spec.pid_file)
            .arg(spec.remove.unwrap_or(Path::new("")))
            .args(spec.line)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(spec.log.try_clone()?)
            .stderr(spec.log)
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take().expect("standard input is a pipe");
        Ok(Self { shell, pipe })
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.status().is_some()
    }

    /// How the child ended, in words; nothing while it runs. A signal shows as 128 and its number.
    pub(crate) fn status(&mut self) -> Option<String> {
        match self.shell.try_wait() {
            Ok(status) => status.map(|status| status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Sends a signal by its name, for example `TERM`. To a child that has ended it does nothing.
    pub(crate) fn signal(&mut self, name: &str) {
        writeln!(self.pipe, "{name}").ok();
    }

    /// Waits until the child has ended; `false` when it still runs after `budget`.
    pub(crate) async fn ended_within(&mut self, budget: Duration) -> bool {
        let start = Instant::now();
        while !self.has_ended() {
            if start.elapsed() > budget {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// `kill -9`, without removing anything; returns when the child is gone.
    pub(crate) async fn kill(mut self) {
        self.signal("keep");
        self.signal("KILL");
        self.ended_within(Duration::from_secs(10)).await;
    }

    /// Asks the child to end by the signal `name`; `kill -9` when it does not within `budget`.
    pub(crate) async fn stop(mut self, name: &str, budget: Duration) {
        self.signal(name);
        if self.ended_within(budget).await {
            self.signal("keep");
        } else {
            self.kill().await;
        }
    }

    /// `kill -9`, and the folder named at start is removed.
    pub(crate) async fn discard(self) {
        let Self { mut shell, pipe } = self;
        drop(pipe);
        let start = Instant::now();
        while matches!(shell.try_wait(), Ok(None)) && start.elapsed() < Duration::from_secs(10) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
