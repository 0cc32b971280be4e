//! A way to Postgres that breaks at commits: the database has committed, and its answer never comes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use store::{Store, StoreSettings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// The way; it ends when dropped.
pub(crate) struct Cut {
    pub(crate) store: Store,
    /// Commits whose answer was kept back.
    pub(crate) cuts: Arc<AtomicUsize>,
    _ways: JoinSet<()>,
}

impl Cut {
    /// Keeps back the answer to every third commit.
    pub(crate) async fn every_third_commit(settings: &StoreSettings) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (before, path) = settings.url.rsplit_once('/').unwrap();
        let (user, server) = before.rsplit_once('@').unwrap();
        let url = format!("{user}@{}/{path}", listener.local_addr().unwrap());
        let (commits, cuts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (server, counted) = (server.to_owned(), Arc::clone(&cuts));
        let mut ways = JoinSet::new();
        ways.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                open.spawn(pass(client, server, Arc::clone(&commits), Arc::clone(&counted)));
            }
        });
        let store = Store::connect(&StoreSettings { url, ..settings.clone() }).unwrap();
        Self { store, cuts, _ways: ways }
    }
}

async fn pass(
    mut client: TcpStream,
    mut server: TcpStream,
    commits: Arc<AtomicUsize>,
    cuts: Arc<AtomicUsize>,
) {
    let (mut up, mut down) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => {
                let Ok(length @ 1..) = read else { return };
                let asked = &up[..length];
                if server.write_all(asked).await.is_err() {
                    return;
                }
                let is_commit = asked.windows(7).any(|bytes| bytes == b"COMMIT\0");
                if is_commit && commits.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
                    // Its answer says that it is done, and stays here.
                    server.readable().await.unwrap();
                    cuts.fetch_add(1, Ordering::Relaxed);
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(length @ 1..) = read else { return };
                if client.write_all(&down[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
