//! The data folder: one user at a time, enough disk, data of our version, no process left over from a run that was killed.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::{
    account::Account,
    artifacts::{fingerprint, pinned},
    error::{Problem, Result, while_doing},
};

/// Free space below which nothing is started.
const NEEDED_MIB: u64 = 1024;
/// A log of an earlier run beyond this size is emptied.
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// An own data folder, locked while this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    pub(crate) keep: bool,
    _lock: File,
}

impl Folder {
    /// Makes `wanted` ready for use, or another place when the servers' account cannot enter it.
    pub(crate) fn open(wanted: &Path, keep: bool, account: Account, progress: &dyn Fn(&str)) -> Result<Self> {
        let path = place(wanted, account, progress)?;
        let doing = |source: io::Error| {
            if source.kind() == io::ErrorKind::PermissionDenied {
                return Problem::NotYours { folder: path.clone() };
            }
            while_doing(format!("prepare the data folder {}", path.display()))(source)
        };
        for part in ["logs", "kafka", "postgres"] {
            fs::create_dir_all(path.join(part)).map_err(doing)?;
            account.give(&path.join(part)).map_err(doing)?;
        }
        let lock = lock(&path)?;
        let folder = Self { path, keep, _lock: lock };
        for what in ["kafka", "postgres"] {
            folder.end_stale(what, progress)?;
        }
        enough_disk(&folder.path)?;
        folder.check_version("Kafka", &folder.path.join("kafka/version"), pinned("kafka"))?;
        let major = pinned("postgres").split('.').next().unwrap_or_default();
        folder.check_version("Postgres", &folder.path.join("postgres/data/PG_VERSION"), major)?;
        Ok(folder)
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    pub(crate) fn pid_file(&self, what: &str) -> PathBuf {
        self.path.join(format!("{what}.pid"))
    }

    /// Opens a log to append to.
    pub(crate) fn log(&self, what: &str) -> io::Result<(PathBuf, File)> {
        let path = self.logs().join(format!("{what}.log"));
        let file = File::options().create(true).append(true).open(&path)?;
        if file.metadata()?.len() > LOG_BYTES_MAX {
            file.set_len(0)?;
        }
        Ok((path, file))
    }

    /// Data of a newer version cannot be read, data of an older one we do not convert.
    fn check_version(&self, what: &'static str, file: &Path, ours: &str) -> Result<()> {
        let Ok(found) = fs::read_to_string(file) else { return Ok(()) };
        let (found, ours) = (found.trim().to_owned(), ours.to_owned());
        let newer_or_other = if what == "Kafka" { parts(&found) > parts(&ours) } else { found != ours };
        if newer_or_other {
            return Err(Problem::OtherVersion { what, found, ours, folder: self.path.clone() });
        }
        Ok(())
    }

    /// Ends the server of an earlier run. Its pid may belong to somebody else by now, so its command line must name our folder.
    fn end_stale(&self, what: &str, progress: &dyn Fn(&str)) -> Result<()> {
        let pid_file = self.pid_file(what);
        let Ok(text) = fs::read_to_string(&pid_file) else { return Ok(()) };
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|pid| command_line(*pid).contains(&*self.path.to_string_lossy())) {
            progress(&format!(
                "ending {what} (process {}), left over from an earlier run",
                pid.as_raw_nonzero()
            ));
            kill_process(pid, Signal::KILL).ok();
            let start = Instant::now();
            while test_kill_process(pid).is_ok() && start.elapsed() < Duration::from_secs(10) {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        }
        fs::remove_file(&pid_file).ok();
        Ok(())
    }
}

/// A new folder below the system's for temporary files.
pub(crate) fn temporary() -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("altinn-events-{}-{number}", process::id()));
        match fs::create_dir(&path) {
            Ok(()) => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
                return path.canonicalize();
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn place(wanted: &Path, account: Account, progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let create = |path: &Path| {
        fs::create_dir_all(path)
            .and_then(|()| path.canonicalize())
            .map_err(while_doing(format!("create the data folder {}", path.display())))
    };
    let path = create(wanted)?;
    let can_enter = |path: &Path| account.can_enter(path).map_err(crate::error::starting("setpriv"));
    if can_enter(&path)? {
        return Ok(path);
    }
    let name = fingerprint(&path.to_string_lossy());
    let elsewhere = create(&Path::new("/var/lib/altinn-events").join(name))?;
    progress(&format!(
        "the unprivileged user that runs Kafka and Postgres cannot enter {}; the data are in {}",
        path.display(),
        elsewhere.display()
    ));
    if can_enter(&elsewhere)? { Ok(elsewhere) } else { Err(Problem::NotEnterable { folder: elsewhere }) }
}

fn lock(path: &Path) -> Result<File> {
    let doing = || while_doing(format!("lock the data folder {}", path.display()));
    let mut file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path.join("lock"))
        .map_err(doing())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).ok();
            let holder = if pid.is_empty() { String::new() } else { format!(": kill {}", pid.trim()) };
            return Err(Problem::FolderInUse { folder: path.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(doing()(source)),
    }
    file.set_len(0).and_then(|()| file.rewind()).map_err(doing())?;
    writeln!(file, "{}", process::id()).map_err(doing())?;
    Ok(file)
}

/// Refuses to go on when the disk that holds `folder` is nearly full.
pub(crate) fn enough_disk(folder: &Path) -> Result<()> {
    let doing = while_doing(format!("read the free space of {}", folder.display()));
    let disk = rustix::fs::statvfs(folder).map_err(|errno| doing(errno.into()))?;
    let free_mib = disk.f_bavail.saturating_mul(disk.f_frsize) / (1024 * 1024);
    if free_mib < NEEDED_MIB {
        return Err(Problem::DiskFull { folder: folder.to_owned(), free_mib, needed_mib: NEEDED_MIB });
    }
    Ok(())
}

fn parts(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

/// The command line of a process; empty when there is none.
fn command_line(pid: Pid) -> String {
    let pid = pid.as_raw_nonzero().to_string();
    if let Ok(bytes) = fs::read(format!("/proc/{pid}/cmdline")) {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let listed = Command::new("ps").args(["-ww", "-o", "command=", "-p", &pid]).output();
    listed.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<Folder> {
        Folder::open(path, true, Account::current(), &|_| {})
    }

    #[test]
    fn a_data_folder_has_one_user_at_a_time() {
        let path = temporary().unwrap();
        let first = open(&path).unwrap();
        let text = open(&path).unwrap_err().to_string();
        assert!(text.contains(&format!("stop that one first: kill {}", process::id())), "{text}");
        drop(first);
        open(&path).unwrap();
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn data_of_a_newer_version_are_refused_with_the_command_that_starts_anew() {
        let path = temporary().unwrap();
        fs::create_dir(path.join("kafka")).unwrap();
        fs::write(path.join("kafka/version"), "99.0.0\n").unwrap();
        let text = open(&path).unwrap_err().to_string();
        assert!(text.contains("written by Kafka 99.0.0"), "{text}");
        assert!(text.contains(&format!("rm -r {}", path.display())), "{text}");
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn a_process_that_only_has_the_pid_of_a_stale_server_is_left_alone() {
        let path = temporary().unwrap();
        let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
        fs::write(path.join("kafka.pid"), format!("{}\n", stranger.id())).unwrap();
        open(&path).unwrap();
        assert!(stranger.try_wait().unwrap().is_none(), "a stranger was killed");
        assert!(!path.join("kafka.pid").exists());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
        fs::remove_dir_all(path).unwrap();
    }
    #[test]
    fn data_go_elsewhere_when_the_servers_cannot_enter_the_folder_and_somebody_is_told() {
        let closed = tempfile::tempdir().unwrap();
        let account = Account::current();
        if account.can_enter(closed.path()).unwrap() {
            return; // Only root runs the servers as somebody else.
        }
        let told = std::cell::RefCell::new(String::new());
        let folder =
            Folder::open(closed.path(), true, account, &|step| told.borrow_mut().push_str(step)).unwrap();
        assert!(folder.path.starts_with("/var/lib/altinn-events"), "{}", folder.path.display());
        assert!(told.borrow().contains(&folder.path.display().to_string()), "{}", told.borrow());
        fs::remove_dir_all(&folder.path).unwrap();
    }
}
