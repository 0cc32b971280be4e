//! Services as child processes of the real binary, to be killed.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
};

use crate::{wait::until, world::World};

/// A child process that runs services. Killed when dropped.
pub struct Process {
    child: Child,
    /// The public address; the same after a restart.
    pub public: SocketAddr,
    /// The admin address; the same after a restart.
    pub admin: SocketAddr,
    services: String,
    log: PathBuf,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The binary that `make test` built before the tests.
pub fn binary() -> PathBuf {
    let mut path = std::env::current_exe().unwrap();
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path.push("altinn-events");
    assert!(path.exists(), "{} is missing; build it first: cargo build -p altinn-events", path.display());
    path
}

/// A port that was free a moment ago.
pub fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Process {
    /// Starts services of a world and waits until they are ready.
    pub async fn start(world: &World, services: &str) -> Self {
        let mut process = Self::begin(world, services);
        process.ready().await;
        process
    }

    /// Starts services of a world.
    pub fn begin(world: &World, services: &str) -> Self {
        let (public, admin) = (free_port(), free_port());
        let folder = std::env::temp_dir().join("altinn-events-tests");
        std::fs::create_dir_all(&folder).unwrap();
        let log = folder.join(format!("{}.{}.{}.log", world.name, services.replace(',', "+"), public.port()));
        let child = spawn(world, services, public, admin, &log);
        Self { child, public, admin, services: services.to_owned(), log }
    }

    /// Waits until every part is ready.
    pub async fn ready(&mut self) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/readyz", self.admin);
        let (child, log) = (&mut self.child, &self.log);
        let child = std::sync::Mutex::new(child);
        until("the process is ready", || async {
            if let Some(status) = child.lock().unwrap().try_wait().unwrap() {
                panic!(
                    "it ended with {status}; its log: {}",
                    std::fs::read_to_string(log).unwrap_or_default()
                );
            }
            match http.get(&url).send().await {
                // A process with ingest takes requests before its other parts are ready.
                Ok(answer) => match answer.text().await {
                    Ok(told) if told == "ready\n" => Ok(()),
                    told => Err(told.unwrap_or_default()),
                },
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Waits until it takes no requests because of this part.
    pub async fn is_not_ready(&self, part: &str) {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("http://{}/readyz", self.admin);
        until(&format!("the process is not ready because of {part}"), || async {
            let answer = http.get(&url).send().await.map_err(|error| error.to_string())?;
            let status = answer.status();
            match answer.text().await {
                Ok(told) if status == 503 && told.contains(part) => Ok(()),
                told => Err(format!("{status}: {told:?}")),
            }
        })
        .await;
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGSTOP: it is there and does nothing, until it is killed or thawed.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT: it goes on where it was.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// The value of a metric, summed over its labels.
    pub async fn metric(&self, name: &str) -> f64 {
        let url = format!("http://{}/metrics", self.admin);
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let text = http.get(&url).send().await.unwrap().text().await.unwrap();
        let series = text.lines().filter_map(|line| line.rsplit_once(' '));
        let own = series.filter(|(series, _)| series.split('{').next() == Some(name));
        own.map(|(_, value)| value.parse::<f64>().unwrap()).sum()
    }

    /// Starts again after [`Process::kill`], on the same ports, without waiting.
    pub fn restart(&mut self, world: &World) {
        self.child = spawn(world, &self.services, self.public, self.admin, &self.log);
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGTERM; then waits for the end.
    pub async fn terminate(&mut self) -> ExitStatus {
        self.signal("-TERM");
        let child = std::sync::Mutex::new(&mut self.child);
        until("the process ends", || async {
            child.lock().unwrap().try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

fn spawn(world: &World, services: &str, public: SocketAddr, admin: SocketAddr, log: &PathBuf) -> Child {
    let out = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
    Command::new(binary())
        .arg("run")
        .env_clear()
        .envs(world.environment(services))
        .env("LISTEN", public.to_string())
        .env("ADMIN_LISTEN", admin.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(out)
        .spawn()
        .unwrap()
}
