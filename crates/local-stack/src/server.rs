//! One server of ours: started until it answers, killed, started again on the same port, stopped.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{sync::Mutex, time::timeout};

use crate::{
    error::{Problem, Result, while_doing},
    folder::{Folder, enough_disk},
    kafka, ports, postgres,
    watchdog::{Spec, Watched},
};

/// A start that takes longer than this has failed. A server that ends is noticed at once; this is for a machine under load.
const START_MAX: Duration = Duration::from_secs(120);
/// A stop that takes longer than this becomes a kill.
const STOP_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Kafka,
    Postgres,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Kafka => "Kafka",
            Self::Postgres => "Postgres",
        }
    }

    fn file_name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Postgres => "postgres",
        }
    }

    /// The signal for a stop that leaves nothing to recover: for Postgres, one that does not wait for its clients.
    fn stop_signal(self) -> &'static str {
        match self {
            Self::Kafka => "TERM",
            Self::Postgres => "INT",
        }
    }

    async fn answers(self, port: u16) -> io::Result<()> {
        match self {
            Self::Kafka => kafka::answers(port).await,
            Self::Postgres => postgres::answers(port).await,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    line: Vec<OsString>,
    pub(crate) pid_file: PathBuf,
    remove: Option<PathBuf>,
    logs: PathBuf,
    child: Mutex<Option<Watched>>,
}

/// Where the logs stood when a start began.
struct Mark {
    out: (PathBuf, u64),
    log: (PathBuf, u64),
}

impl Server {
    pub(crate) fn new(kind: Kind, port: u16, line: Vec<OsString>, folder: &Folder) -> Self {
        Self {
            kind,
            port,
            line,
            pid_file: folder.pid_file(kind.file_name()),
            remove: (!folder.keep).then(|| folder.path.clone()),
            logs: folder.logs(),
            child: Mutex::new(None),
        }
    }

    /// Starts it when it does not run; returns when it has answered a real request.
    pub(crate) async fn start(&self, progress: &(dyn Fn(&str) + Send + Sync)) -> Result<()> {
        let mut child = self.child.lock().await;
        if child.as_mut().is_some_and(|child| !child.has_ended()) {
            return Ok(());
        }
        let begin = Instant::now();
        loop {
            if !ports::is_free(self.port) {
                return Err(Problem::PortInUse { what: self.kind.name(), port: self.port });
            }
            let mark = self.mark();
            let mut started = self.spawn()?;
            match self.ready(&mut started, &mark, begin, progress).await {
                Ok(()) => {
                    progress(&format!(
                        "{} answers after {:.1} s",
                        self.kind.name(),
                        begin.elapsed().as_secs_f32()
                    ));
                    *child = Some(started);
                    return Ok(());
                }
                // The helpers of a Postgres that was killed take a moment to notice.
                Err(Problem::Ended { last_line, .. })
                    if last_line.contains("shared memory block")
                        && begin.elapsed() < Duration::from_secs(10) =>
                {
                    // Its watchdog must not take the data for those of a stack that is over.
                    started.kill().await;
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(problem) => {
                    started.kill().await;
                    return Err(problem);
                }
            }
        }
    }

    /// `kill -9`; returns when it is gone. Does nothing when it does not run.
    pub(crate) async fn kill(&self) {
        if let Some(child) = self.child.lock().await.take() {
            child.kill().await;
        }
    }

    /// Stops it for good: gently when its data are kept, else at once and with its data.
    pub(crate) async fn stop(&self) {
        let Some(child) = self.child.lock().await.take() else { return };
        if self.remove.is_some() {
            child.discard().await;
        } else {
            child.stop(self.kind.stop_signal(), STOP_MAX).await;
        }
    }

    /// From now on the folder stays when this process ends.
    pub(crate) async fn keep_folder(&self) {
        if let Some(child) = self.child.lock().await.as_mut() {
            child.signal("keep");
        }
    }

    fn log(&self, ending: &str) -> PathBuf {
        self.logs.join(format!("{}.{ending}", self.kind.file_name()))
    }

    fn mark(&self) -> Mark {
        let end = |path: PathBuf| {
            let length = fs::metadata(&path).map_or(0, |file| file.len());
            (path, length)
        };
        Mark { out: end(self.log("out")), log: end(self.log("log")) }
    }

    fn spawn(&self) -> Result<Watched> {
        // Kafka writes and turns its own log; Postgres' log is what it prints.
        let output = match self.kind {
            Kind::Kafka => self.log("out"),
            Kind::Postgres => self.log("log"),
        };
        let doing = || while_doing(format!("start {}", self.kind.name()));
        let log = File::options().create(true).append(true).open(output).map_err(doing())?;
        let remove = self.remove.as_deref();
        Watched::start(Spec { line: &self.line, pid_file: &self.pid_file, remove, log }).map_err(doing())
    }

    async fn ready(
        &self,
        child: &mut Watched,
        mark: &Mark,
        begin: Instant,
        progress: &(dyn Fn(&str) + Send + Sync),
    ) -> Result<()> {
        let (mut pause, mut told) = (Duration::from_millis(20), 0);
        loop {
            if let Ok(Ok(())) = timeout(Duration::from_secs(2), self.kind.answers(self.port)).await {
                return Ok(());
            }
            if let Some(status) = child.status() {
                return Err(self.why_ended(mark, status));
            }
            let seconds = begin.elapsed().as_secs();
            if begin.elapsed() > START_MAX {
                return Err(Problem::NotReady { what: self.kind.name(), seconds });
            }
            if seconds / 5 > told {
                told = seconds / 5;
                progress(&format!("waiting for {}: {seconds} s", self.kind.name()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(250));
        }
    }

    fn why_ended(&self, mark: &Mark, status: String) -> Problem {
        let said = [&mark.log, &mark.out].map(|(path, from)| since(path, *from).unwrap_or_default()).concat();
        if said.contains("Address already in use") {
            return Problem::PortInUse { what: self.kind.name(), port: self.port };
        }
        if said.contains("No space left on device")
            && let Err(full) = enough_disk(&self.logs)
        {
            return full;
        }
        Problem::Ended { what: self.kind.name(), status, last_line: telling_line(&said) }
    }
}

/// What a log got after `from`; all of it when it was turned meanwhile.
fn since(path: &Path, from: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let from = if file.metadata()?.len() < from { 0 } else { from };
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(1024 * 1024).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The last line that reports an error, else the last line.
pub(crate) fn telling_line(text: &str) -> String {
    let lines = || text.lines().rev().filter(|line| !line.trim().is_empty());
    let tells = |line: &&str| {
        ["FATAL", "ERROR", "Exception", "error:", "setpriv:"].iter().any(|word| line.contains(word))
    };
    lines().find(tells).or_else(|| lines().next()).unwrap_or("(nothing)").chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_tells_most_is_the_last_error() {
        let log = "starting\nERROR disk on fire\nshutting down\n\n";
        assert_eq!(telling_line(log), "ERROR disk on fire");
        assert_eq!(telling_line("one\ntwo\n"), "two");
        assert_eq!(telling_line(""), "(nothing)");
    }
}
