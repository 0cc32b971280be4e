//! Real servers: started, killed, left over, stopped. Each test has a stack of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use local_stack::{Stack, StackOptions};

fn tell(step: &str) {
    eprintln!("local stack: {step}");
}

fn pid(folder: &Path, what: &str) -> String {
    fs::read_to_string(folder.join(format!("{what}.pid"))).unwrap().trim().to_owned()
}

fn runs(pid: &str) -> bool {
    Command::new("kill").args(["-0", pid]).stderr(Stdio::null()).status().unwrap().success()
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn listens(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

/// `with-local-stack sh -c COMMAND`, on servers of its own.
fn with_local_stack(command: &str) -> Command {
    let mut line = Command::new(env!("CARGO_BIN_EXE_with-local-stack"));
    line.args(["sh", "-c", command]).env_remove("KAFKA_BROKERS").env_remove("DATABASE_URL");
    line
}

/// The data folder of the stack that a `with-local-stack` runs.
fn folder_of(parent: &Child) -> PathBuf {
    std::env::temp_dir().join(format!("altinn-events-{}-0", parent.id()))
}

#[tokio::test]
async fn killed_servers_come_back_on_their_ports_with_their_data() {
    let stack = Stack::start(StackOptions::temporary(), tell).await.unwrap();
    let (brokers, logs) = (stack.brokers(), stack.logs().to_owned());
    let folder = logs.parent().unwrap().to_owned();
    let before = (pid(&folder, "kafka"), pid(&folder, "postgres"));

    stack.kill_broker().await.unwrap();
    assert!(!listens(&brokers), "the broker still answers");
    assert!(!runs(&before.0));
    stack.kill_postgres().await.unwrap();
    assert!(!runs(&before.1));
    let restarted = tokio::join!(stack.start_broker(), stack.start_postgres());
    restarted.0.unwrap();
    restarted.1.unwrap();
    assert_eq!(stack.brokers(), brokers);
    assert!(listens(&brokers));
    assert_ne!(pid(&folder, "kafka"), before.0);

    stack.stop().await;
    assert!(!listens(&brokers));
    assert!(!folder.exists(), "a temporary stack left {} behind", folder.display());
}

/// The states of a process and its children, as `ps` shows them; `T` is a stopped one.
fn states(parent: &str) -> Vec<String> {
    let listed =
        Command::new("ps").args(["-A", "-o", "pid=", "-o", "ppid=", "-o", "stat="]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let columns = listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let of_parent = columns.filter(|line| line.iter().take(2).any(|pid| *pid == parent));
    of_parent.filter_map(|line| line.last().map(|state| (*state).to_owned())).collect()
}

#[tokio::test]
async fn frozen_servers_stand_still_with_all_their_processes_and_go_on() {
    let stack = Stack::start(StackOptions::temporary(), tell).await.unwrap();
    let folder = stack.logs().parent().unwrap().to_owned();
    let pids = [pid(&folder, "kafka"), pid(&folder, "postgres")];
    let frozen = [stack.freeze_broker().unwrap(), stack.freeze_postgres().unwrap()];
    for pid in &pids {
        until("every process stands still", || states(pid).iter().all(|state| state.starts_with('T'))).await;
    }
    assert!(states(&pids[1]).len() > 3, "the helpers of Postgres are among them");
    drop(frozen);
    for pid in &pids {
        until("every process goes on", || !states(pid).iter().any(|state| state.starts_with('T'))).await;
    }
    stack.stop().await;
}

#[tokio::test]
async fn a_kept_stack_finds_its_data_and_its_ports_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let options = StackOptions::kept(folder.path().join("data"));
    let first = Stack::start(options.clone(), tell).await.unwrap();
    let (brokers, database) = (first.brokers(), first.database_url());
    let busy = Stack::start(options.clone(), tell).await.unwrap_err().to_string();
    assert!(busy.contains("is in use by another process"), "{busy}");
    first.stop().await;
    assert!(!listens(&brokers));

    let second = Stack::start(options, tell).await.unwrap();
    assert_eq!((second.brokers(), second.database_url()), (brokers, database));
    let log = fs::read_to_string(second.logs().join("postgres.log")).unwrap();
    assert!(
        !log.contains("database system was not properly shut down"),
        "the first stop was not gentle: {log}"
    );
    second.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_command_that_shows_by_whom() {
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let options = StackOptions { kafka_port: Some(port), ..StackOptions::temporary() };
    let error = Stack::start(options, tell).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains(&format!("port {port}, which Kafka needs, is in use")), "{text}");
    assert!(text.contains(&format!("logs: {}", error.logs().display())), "{text}");
    fs::remove_dir_all(error.logs().parent().unwrap()).unwrap();
}

#[test]
fn a_command_runs_with_a_stack_and_its_exit_code_is_ours() {
    let command = "test -n \"$DATABASE_URL\" && echo \"$KAFKA_BROKERS\"; exit 7";
    let output = with_local_stack(command).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    let brokers = String::from_utf8(output.stdout).unwrap();
    assert!(!listens(brokers.trim()), "the broker outlived the command");
    let said = String::from_utf8(output.stderr).unwrap();
    let logs = said.lines().find_map(|line| line.split_once("logs of Kafka and Postgres: ")).unwrap().1;
    assert!(Path::new(logs).join("kafka.log").exists(), "{said}");
    fs::remove_dir_all(Path::new(logs).parent().unwrap()).unwrap();
}

#[tokio::test]
async fn nothing_is_left_of_a_stack_whose_parent_was_killed() {
    let mut parent =
        with_local_stack("echo \"$KAFKA_BROKERS\"; exec sleep 60").stdout(Stdio::piped()).spawn().unwrap();
    let mut brokers = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut brokers).unwrap();
    let folder = folder_of(&parent);
    let pids = [pid(&folder, "kafka"), pid(&folder, "postgres")];
    assert!(pids.iter().all(|pid| runs(pid)) && listens(brokers.trim()));

    parent.kill().unwrap();
    parent.wait().unwrap();
    until("both servers end", || !pids.iter().any(|pid| runs(pid))).await;
    until("the data are removed", || !folder.exists()).await;
}

#[tokio::test]
async fn servers_left_over_from_a_killed_run_are_ended_before_a_new_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = folder.path().join("data").canonicalize().unwrap_or_else(|_| folder.path().join("data"));
    fs::create_dir_all(&path).unwrap();
    // Its command line names the data folder, as those of the servers do.
    let mut stale = Command::new("sh")
        .args(["-c", "while :; do sleep 1; done", "postgres", "-D"])
        .arg(path.canonicalize().unwrap().join("postgres/data"))
        .spawn()
        .unwrap();
    fs::write(path.join("postgres.pid"), format!("{}\n", stale.id())).unwrap();
    let reaper = std::thread::spawn(move || stale.wait());
    let stack = Stack::start(StackOptions::kept(&path), tell).await.unwrap();
    let status = reaper.join().unwrap().unwrap();
    assert!(!status.success(), "the left-over server ended by itself");
    stack.stop().await;
}
