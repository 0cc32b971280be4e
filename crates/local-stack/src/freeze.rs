//! A server that hangs: stopped as a whole, and let go on.

use std::{fs, io, path::Path, process::Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Result, while_doing};

/// A server that stands still, with all its processes, and keeps its connections. It goes on when this is dropped.
#[derive(Debug)]
#[must_use = "the server goes on when this is dropped"]
pub struct Frozen {
    /// The parent first.
    processes: Vec<Pid>,
}

impl Frozen {
    /// Stops the server whose process is named in this file.
    pub(crate) fn freeze(pid_file: &Path) -> Result<Self> {
        stop_all(pid_file).map_err(while_doing(format!("stop the server of {}", pid_file.display())))
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        for process in self.processes.iter().rev() {
            // One that has ended meanwhile goes on as it can.
            kill_process(*process, Signal::CONT).ok();
        }
    }
}

fn stop_all(pid_file: &Path) -> io::Result<Frozen> {
    let parent = fs::read_to_string(pid_file)?.trim().parse().ok().and_then(Pid::from_raw);
    let parent = parent.ok_or(io::ErrorKind::NotFound)?;
    // First the one that makes the others.
    kill_process(parent, Signal::STOP)?;
    let mut frozen = Frozen { processes: vec![parent] };
    for child in children(parent)? {
        if kill_process(child, Signal::STOP).is_ok() {
            frozen.processes.push(child);
        }
    }
    Ok(frozen)
}

fn children(parent: Pid) -> io::Result<Vec<Pid>> {
    let listed = Command::new("ps").args(["-A", "-o", "pid=", "-o", "ppid="]).output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let of_parent = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse::<i32>);
        let (pid, ppid) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (Some(parent) == Pid::from_raw(ppid)).then(|| Pid::from_raw(pid)).flatten()
    };
    Ok(listed.lines().filter_map(of_parent).collect())
}
