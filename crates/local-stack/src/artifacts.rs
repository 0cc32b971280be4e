//! What `pom.xml` pins, fetched once into a cache that survives `cargo clean` and is shared by all checkouts.
//!
//! A folder of the cache is complete when it exists: it is filled under another name and renamed last. One process fetches at a
//! time; the others wait for its lock.

use std::{
    fs::{self, File, TryLockError},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use service::env::Env;

use crate::{
    account::Account,
    error::{Problem, Result, starting, while_doing},
    folder::enough_disk,
    kafka,
};

const POM: &str = include_str!("../pom.xml");

/// Where Kafka's jars, Postgres' programs and a formatted, empty Kafka data folder are.
#[derive(Clone, Debug)]
pub(crate) struct Artifacts {
    root: PathBuf,
    java: PathBuf,
}

impl Artifacts {
    pub(crate) fn java(&self) -> &Path {
        &self.java
    }

    pub(crate) fn class_path(&self) -> PathBuf {
        self.root.join("libs/*")
    }

    pub(crate) fn kafka_template(&self) -> PathBuf {
        self.root.join("kafka-template")
    }

    pub(crate) fn postgres_program(&self, name: &str) -> PathBuf {
        self.root.join("postgres/bin").join(name)
    }
}

/// The version of `part` (`kafka`, `postgres`) in `pom.xml`.
pub(crate) fn pinned(part: &str) -> &'static str {
    let (open, close) = (format!("<{part}.version>"), format!("</{part}.version>"));
    let version = POM.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
    version.map(|(version, _)| version).expect("pom.xml states the version of each part")
}

/// A short name for a text: FNV-1a, 64 bits, in hexadecimal.
pub(crate) fn fingerprint(text: &str) -> String {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    format!("{:016x}", text.bytes().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Finds the artifacts in the cache, fetching them first when they are not there. Blocks for the time of a download.
pub(crate) fn obtain(env: &Env, account: Account, logs: &Path, progress: &dyn Fn(&str)) -> Result<Artifacts> {
    let java = java(env)?;
    let platform = platform()?;
    let cache = cache_folder(env, account);
    let root = cache.join(fingerprint(&format!("{POM}{platform}")));
    if !root.exists() {
        fs::create_dir_all(&cache).map_err(while_doing(format!("create the cache {}", cache.display())))?;
        let _lock = lock(&cache, progress)?;
        if !root.exists() {
            fetch(&Fetch { root: &root, platform, account, logs, java: &java }, progress)?;
        }
    }
    if !account.can_enter(&root).map_err(starting("setpriv"))? {
        return Err(Problem::NotEnterable { folder: root });
    }
    Ok(Artifacts { root, java })
}

struct Fetch<'a> {
    root: &'a Path,
    platform: &'static str,
    account: Account,
    logs: &'a Path,
    java: &'a Path,
}

fn fetch(fetch: &Fetch<'_>, progress: &dyn Fn(&str)) -> Result<()> {
    let partial = fetch.root.with_extension("partial");
    let doing = || while_doing(format!("fill the cache {}", fetch.root.display()));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(doing())?;
    }
    fs::create_dir(&partial).map_err(doing())?;
    enough_disk(&partial)?;
    fs::write(partial.join("pom.xml"), POM).map_err(doing())?;
    progress(&format!(
        "fetching Kafka {} and Postgres {} from Maven Central (60 MB, once)",
        pinned("kafka"),
        pinned("postgres")
    ));
    maven(fetch, &partial, progress)?;
    progress("unpacking");
    unpack(&partial)?;
    kafka::format(fetch.java, &partial)?;
    if fetch.account.drops_root() {
        let mut chmod = Command::new("chmod");
        chmod.args(["-R", "a+rX"]).arg(&partial);
        chmod.status().map_err(starting("chmod"))?;
    }
    fs::rename(&partial, fetch.root).map_err(doing())
}

fn maven(fetch: &Fetch<'_>, partial: &Path, progress: &dyn Fn(&str)) -> Result<()> {
    let log = fetch.logs.join("fetch.log");
    let doing = || while_doing(format!("write {}", log.display()));
    let mut file = File::create(&log).map_err(doing())?;
    let mut maven = Command::new("mvn")
        .args(["-B", "-Dstyle.color=never", "package"])
        .arg("-f")
        .arg(partial.join("pom.xml"))
        .arg(format!("-Dout={}", partial.display()))
        .arg(format!("-Dpostgres.platform={}", fetch.platform))
        .current_dir(partial)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(file.try_clone().map_err(doing())?)
        .spawn()
        .map_err(starting("mvn"))?;
    let (mut files, mut reason) = (0_u32, None);
    let output = maven.stdout.take().expect("standard output is a pipe");
    for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
        writeln!(file, "{line}").map_err(doing())?;
        if line.contains("Downloaded") {
            files += 1;
            if files.is_multiple_of(20) {
                progress(&format!("fetching: {files} files"));
            }
        }
        if let Some(error) = line.strip_prefix("[ERROR] ") {
            reason.get_or_insert_with(|| error.chars().take(300).collect::<String>());
        }
    }
    let status = maven.wait().map_err(while_doing("wait for mvn"))?;
    if status.success() {
        return Ok(());
    }
    Err(Problem::Fetch { reason: reason.unwrap_or_else(|| format!("mvn ended with {status}")) })
}

/// Unpacks the one archive of Postgres.
fn unpack(partial: &Path) -> Result<()> {
    let (archive, postgres) = (partial.join("archive"), partial.join("postgres"));
    let doing = || while_doing(format!("unpack {}", archive.display()));
    let mut files = fs::read_dir(&archive).map_err(doing())?.filter_map(std::result::Result::ok);
    let file = files.find(|file| file.path().extension().is_some_and(|ending| ending == "txz"));
    let file = file
        .ok_or_else(|| Problem::Fetch { reason: "the artifact of Postgres holds no archive".to_owned() })?;
    fs::create_dir_all(&postgres).map_err(doing())?;
    let mut tar = Command::new("tar");
    tar.arg("-xJf").arg(file.path()).arg("-C").arg(&postgres).arg("--no-same-owner");
    let output = tar.output().map_err(starting("tar"))?;
    if !output.status.success() {
        // GNU tar leaves xz to a program of that name.
        Command::new("xz").arg("--version").stdout(Stdio::null()).status().map_err(starting("xz"))?;
        enough_disk(partial)?;
        let said = String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned();
        return Err(Problem::Fetch { reason: format!("the archive of Postgres cannot be unpacked: {said}") });
    }
    fs::remove_dir_all(&archive).map_err(doing())
}

/// The Java that runs Kafka: `JAVA_HOME`, else the one on the path; 17 or newer.
fn java(env: &Env) -> Result<PathBuf> {
    let home = env.optional("JAVA_HOME").map(|home| Path::new(&home).join("bin/java"));
    let java = home.filter(|java| java.exists()).unwrap_or_else(|| PathBuf::from("java"));
    let output = Command::new(&java).arg("-version").output().map_err(starting("java"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    match major_version(&text) {
        Some(found) if found < 17 => Err(Problem::OldJava { found }),
        // macOS has a `java` that only says that there is none.
        None if !output.status.success() => Err(Problem::Missing { tool: "java" }),
        Some(_) | None => Ok(java),
    }
}

/// From `openjdk version "17.0.15" 2025-04-15` or `java version "1.8.0_292"`.
fn major_version(text: &str) -> Option<u32> {
    let version = text.split_once("version \"")?.1;
    let mut numbers = version.split(['.', '"', '-', '_']);
    match numbers.next()?.parse().ok()? {
        1 => numbers.next()?.parse().ok(),
        major => Some(major),
    }
}

fn platform() -> Result<&'static str> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", "x86_64") => Ok("linux-amd64"),
        ("linux", "aarch64") => Ok("linux-arm64v8"),
        ("macos", "x86_64") => Ok("darwin-amd64"),
        ("macos", "aarch64") => Ok("darwin-arm64v8"),
        (os, arch) => Err(Problem::NoPlatform { platform: format!("{os} on {arch}") }),
    }
}

/// Root's home is closed to the account that runs the servers, so root has the system's cache.
fn cache_folder(env: &Env, account: Account) -> PathBuf {
    let base = match (env.optional("XDG_CACHE_HOME"), env.optional("HOME")) {
        (Some(cache), _) => PathBuf::from(cache),
        (None, Some(home)) if !account.drops_root() => Path::new(&home).join(".cache"),
        (None, Some(_) | None) => PathBuf::from("/var/cache"),
    };
    base.join("altinn-events")
}

fn lock(cache: &Path, progress: &dyn Fn(&str)) -> Result<File> {
    let doing = || while_doing(format!("lock the cache {}", cache.display()));
    let file = File::create(cache.join("lock")).map_err(doing())?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => {
            progress("another process is fetching Kafka and Postgres; waiting for it")
        }
        Err(TryLockError::Error(source)) => return Err(doing()(source)),
    }
    file.lock().map_err(doing())?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pom_states_the_versions_that_messages_and_checks_use() {
        assert!(pinned("kafka").starts_with("4."));
        assert!(pinned("postgres").starts_with("18."));
    }

    #[test]
    fn the_version_of_java_is_read_in_its_old_and_new_form() {
        assert_eq!(major_version("openjdk version \"17.0.15\" 2025-04-15"), Some(17));
        assert_eq!(major_version("openjdk version \"25\" 2025-09-16"), Some(25));
        assert_eq!(major_version("java version \"1.8.0_292\""), Some(8));
        assert_eq!(major_version("No Java runtime present"), None);
    }
}
