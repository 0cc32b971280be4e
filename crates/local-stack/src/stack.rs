//! Kafka and Postgres together.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use service::env::Env;

use crate::{
    account::Account,
    artifacts::{self, Artifacts},
    error::{Problem, Result, StackError, starting, while_doing},
    folder::{self, Folder},
    freeze::Frozen,
    kafka,
    ports::Ports,
    postgres,
    server::{Kind, Server},
};

/// Where the data lie and on which ports the servers listen.
#[derive(Clone, Debug, Default)]
pub struct StackOptions {
    /// The data folder; `None` for a temporary one.
    pub folder: Option<PathBuf>,
    /// Whether the data outlive the stack. Data that do not are removed also when this process is killed.
    pub keep_data: bool,
    /// Kafka's port; `None` for one of our own choice, the same in each run on the same folder.
    pub kafka_port: Option<u16>,
    /// Postgres' port, likewise.
    pub postgres_port: Option<u16>,
}

impl StackOptions {
    /// Data that are found again by the next run.
    pub fn kept(folder: impl Into<PathBuf>) -> Self {
        Self { folder: Some(folder.into()), keep_data: true, ..Self::default() }
    }

    /// Data in a folder of their own that goes away with the stack.
    pub fn temporary() -> Self {
        Self::default()
    }
}

type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// A running Kafka and a running Postgres.
///
/// Dropping it ends the servers it started as `kill -9` would; [`Stack::stop`] ends them gently and waits.
#[derive(Debug)]
pub struct Stack {
    kafka: Part,
    postgres: Part,
    logs: PathBuf,
    temporary: Option<PathBuf>,
    keeps_logs: AtomicBool,
    _folder: Option<Folder>,
}

#[derive(Debug)]
enum Part {
    Given(String),
    Own(Server),
}

impl Stack {
    /// Starts both servers and waits until each has answered a real request. `progress` is told each step, for a person who
    /// waits. The first start on a machine fetches both (up to a minute or two), later ones take about 6 s.
    ///
    /// # Errors
    /// [`StackError`], which says what mends it.
    pub async fn start(
        options: StackOptions,
        progress: impl Fn(&str) + Send + Sync + 'static,
    ) -> std::result::Result<Self, StackError> {
        start([None, None], options, Arc::new(progress)).await
    }

    /// Like [`Stack::start`], but takes Kafka from `KAFKA_BROKERS` and Postgres from `DATABASE_URL` where these are set.
    ///
    /// # Errors
    /// [`StackError`], which says what mends it.
    pub async fn from_env(
        env: &Env,
        options: StackOptions,
        progress: impl Fn(&str) + Send + Sync + 'static,
    ) -> std::result::Result<Self, StackError> {
        start([env.optional("KAFKA_BROKERS"), env.optional("DATABASE_URL")], options, Arc::new(progress))
            .await
    }

    /// Kafka's bootstrap servers.
    pub fn brokers(&self) -> String {
        match &self.kafka {
            Part::Given(brokers) => brokers.clone(),
            Part::Own(server) => format!("127.0.0.1:{}", server.port),
        }
    }

    /// The URL of a database in which we may do everything.
    pub fn database_url(&self) -> String {
        match &self.postgres {
            Part::Given(url) => url.clone(),
            Part::Own(server) => format!("postgres://{0}@127.0.0.1:{1}/{0}", postgres::USER, server.port),
        }
    }

    /// The folder with the logs of both servers.
    pub fn logs(&self) -> &Path {
        &self.logs
    }

    /// `kill -9` of the broker; returns when it is gone.
    ///
    /// # Errors
    /// When the broker is not ours.
    pub async fn kill_broker(&self) -> std::result::Result<(), StackError> {
        self.own(&self.kafka, Kind::Kafka)?.kill().await;
        Ok(())
    }

    /// Starts the broker again with its data, on its port; returns when it answers.
    ///
    /// # Errors
    /// When it does not start, or is not ours.
    pub async fn start_broker(&self) -> std::result::Result<(), StackError> {
        self.restart(&self.kafka, Kind::Kafka).await
    }

    /// `kill -9` of Postgres; returns when it is gone.
    ///
    /// # Errors
    /// When Postgres is not ours.
    pub async fn kill_postgres(&self) -> std::result::Result<(), StackError> {
        self.own(&self.postgres, Kind::Postgres)?.kill().await;
        Ok(())
    }

    /// Starts Postgres again with its data, on its port; returns when it answers.
    ///
    /// # Errors
    /// When it does not start, or is not ours.
    pub async fn start_postgres(&self) -> std::result::Result<(), StackError> {
        self.restart(&self.postgres, Kind::Postgres).await
    }

    /// Stops the broker without ending it, as a machine does that hangs, until the answer is dropped.
    ///
    /// # Errors
    /// When the broker does not run, or is not ours.
    pub fn freeze_broker(&self) -> std::result::Result<Frozen, StackError> {
        self.freeze(&self.kafka, Kind::Kafka)
    }

    /// Stops Postgres with all its processes, likewise.
    ///
    /// # Errors
    /// When Postgres does not run, or is not ours.
    pub fn freeze_postgres(&self) -> std::result::Result<Frozen, StackError> {
        self.freeze(&self.postgres, Kind::Postgres)
    }

    fn freeze(&self, part: &Part, kind: Kind) -> std::result::Result<Frozen, StackError> {
        let server = self.own(part, kind)?;
        Frozen::freeze(&server.pid_file).map_err(|problem| problem.with_logs(&self.logs))
    }

    /// Keeps the logs of a temporary stack when it ends, for somebody who wants to read them.
    pub async fn keep_logs(&self) {
        for server in self.servers() {
            server.keep_folder().await;
        }
        self.keeps_logs.store(true, Ordering::Relaxed);
    }

    /// Ends what was started here and waits for it: gently when the data are kept, at once when they go away.
    pub async fn stop(self) {
        let stop = async |part: &Part| {
            if let Part::Own(server) = part {
                server.stop().await;
            }
        };
        tokio::join!(stop(&self.kafka), stop(&self.postgres));
        if let Some(folder) = &self.temporary {
            let gone = if self.keeps_logs.load(Ordering::Relaxed) {
                vec![folder.join("kafka"), folder.join("postgres")]
            } else {
                vec![folder.clone()]
            };
            for folder in gone {
                std::fs::remove_dir_all(folder).ok();
            }
        }
    }

    fn servers(&self) -> impl Iterator<Item = &Server> {
        [&self.kafka, &self.postgres].into_iter().filter_map(|part| match part {
            Part::Own(server) => Some(server),
            Part::Given(_) => None,
        })
    }

    fn own<'a>(&self, part: &'a Part, kind: Kind) -> std::result::Result<&'a Server, StackError> {
        match part {
            Part::Own(server) => Ok(server),
            Part::Given(_) => Err(Problem::NotOurs { what: kind.name() }.with_logs(&self.logs)),
        }
    }

    async fn restart(&self, part: &Part, kind: Kind) -> std::result::Result<(), StackError> {
        let started = self.own(part, kind)?.start(&|_| {}).await;
        started.map_err(|problem| problem.with_logs(&self.logs))
    }
}

async fn start(
    given: [Option<String>; 2],
    options: StackOptions,
    progress: Progress,
) -> std::result::Result<Stack, StackError> {
    if let [Some(kafka), Some(postgres)] = given {
        let (kafka, postgres) = (Part::Given(kafka), Part::Given(postgres));
        return Ok(Stack {
            kafka,
            postgres,
            logs: PathBuf::new(),
            temporary: None,
            keeps_logs: AtomicBool::new(false),
            _folder: None,
        });
    }
    let wanted = match &options.folder {
        Some(folder) => folder.clone(),
        None => folder::temporary().map_err(|error| {
            while_doing("create a temporary folder")(error).with_logs(&std::env::temp_dir())
        })?,
    };
    let (account, logs) = (Account::current(), wanted.join("logs"));
    let tell = Arc::clone(&progress);
    let opened = blocking(move || Folder::open(&wanted, options.keep_data, account, &*tell)).await;
    let folder = opened.map_err(|problem| problem.with_logs(&logs))?;
    let logs = folder.logs();
    let fixed = [options.kafka_port, options.postgres_port];
    let ready = prepare(given, folder, (account, fixed), progress).await;
    let Ready { folder, kafka, postgres } = ready.map_err(|problem| problem.with_logs(&logs))?;
    Ok(Stack {
        kafka,
        postgres,
        logs: folder.logs(),
        temporary: (!folder.keep).then(|| folder.path.clone()),
        keeps_logs: AtomicBool::new(false),
        _folder: Some(folder),
    })
}

struct Ready {
    folder: Folder,
    kafka: Part,
    postgres: Part,
}

/// Everything up to two servers that answer. A port that somebody takes between our look and the server's is replaced.
async fn prepare(
    given: [Option<String>; 2],
    mut folder: Folder,
    (account, fixed): (Account, [Option<u16>; 2]),
    progress: Progress,
) -> Result<Ready> {
    let (tell, logs) = (Arc::clone(&progress), folder.logs());
    let artifacts = blocking(move || artifacts::obtain(&Env::process(), account, &logs, &*tell)).await?;
    let mut tries = 0;
    loop {
        let (artifacts, given) = (artifacts.clone(), given.clone());
        progress("starting Kafka and Postgres");
        let ready = blocking(move || lay_out(folder, given, &artifacts, (account, fixed))).await?;
        let (kafka, postgres) = tokio::join!(ready.kafka.start(&*progress), ready.postgres.start(&*progress));
        let Err(problem) = kafka.and(postgres) else { return Ok(ready) };
        ready.kafka.kill().await;
        ready.postgres.kill().await;
        let taken = matches!(problem, Problem::PortInUse { port, .. } if !fixed.contains(&Some(port)));
        if !taken || tries == 3 {
            return Err(problem);
        }
        tries += 1;
        folder = ready.folder;
    }
}

fn lay_out(
    folder: Folder,
    [kafka, postgres]: [Option<String>; 2],
    artifacts: &Artifacts,
    (account, fixed): (Account, [Option<u16>; 2]),
) -> Result<Ready> {
    let file = folder.path.join("ports");
    let ports = Ports::choose(&file, fixed);
    ports.save(&file).map_err(while_doing(format!("write {}", file.display())))?;
    let kafka = match kafka {
        Some(brokers) => Part::Given(brokers),
        None => {
            let line = kafka::prepare(&folder, artifacts, ports, account)?;
            Part::Own(Server::new(Kind::Kafka, ports.kafka, line, &folder))
        }
    };
    let postgres = match postgres {
        Some(url) => Part::Given(url),
        None => {
            let line = postgres::prepare(&folder, artifacts, ports, account)?;
            Part::Own(Server::new(Kind::Postgres, ports.postgres, line, &folder))
        }
    };
    Ok(Ready { folder, kafka, postgres })
}

impl Part {
    async fn start(&self, progress: &(dyn Fn(&str) + Send + Sync)) -> Result<()> {
        match self {
            Self::Own(server) => server.start(progress).await,
            Self::Given(_) => Ok(()),
        }
    }

    async fn kill(&self) {
        if let Self::Own(server) = self {
            server.kill().await;
        }
    }
}

/// Work with files and short-lived child processes, off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(starting("a thread")(std::io::Error::other(error))),
    }
}
