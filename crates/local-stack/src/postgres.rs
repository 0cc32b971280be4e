//! Postgres with its durable defaults, over TCP on 127.0.0.1 only (no socket file, so no limit on the length of its path).

use std::{ffi::OsString, fs, io, net::Ipv4Addr, path::Path};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    account::{Account, from_line},
    artifacts::Artifacts,
    error::{Problem, Result, while_doing},
    folder::Folder,
    ports::Ports,
};

/// Name of the one user and of its database. Whoever reaches the port is trusted.
pub(crate) const USER: &str = "postgres";

/// Creates the cluster when there is none; returns the command line that starts the server. Blocks for about a second.
pub(crate) fn prepare(
    folder: &Folder,
    artifacts: &Artifacts,
    ports: Ports,
    account: Account,
) -> Result<Vec<OsString>> {
    let data = folder.path.join("postgres/data");
    if !data.exists() {
        create_cluster(folder, artifacts, account, &data)?;
    }
    let mut line = account.command_line(artifacts.postgres_program("postgres"));
    line.push("-D".into());
    line.push(data.into());
    line.extend(["-p".into(), ports.postgres.to_string().into()]);
    let settings = [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "max_connections=300",
        "shared_buffers=256MB",
        "timezone=UTC",
        "log_timezone=UTC",
        "log_checkpoints=off",
    ];
    line.extend(settings.into_iter().flat_map(|setting| ["-c".into(), setting.into()]));
    Ok(line)
}

/// The same sorting and the same time zone on every machine. The folder appears whole or not at all.
fn create_cluster(folder: &Folder, artifacts: &Artifacts, account: Account, data: &Path) -> Result<()> {
    let partial = data.with_extension("partial");
    let doing = || while_doing(format!("create the database in {}", data.display()));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(doing())?;
    }
    let (_, log) = folder.log("postgres").map_err(doing())?;
    let mut initdb = from_line(&account.command_line(artifacts.postgres_program("initdb")));
    initdb.arg("-D").arg(&partial).args([
        "-U",
        USER,
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
        "--no-instructions",
    ]);
    initdb.args(["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]);
    let second = log.try_clone().map_err(doing())?;
    let status = initdb.current_dir("/").stdout(log).stderr(second).status().map_err(doing())?;
    if !status.success() {
        let (path, _) = folder.log("postgres").map_err(doing())?;
        let last_line = crate::server::telling_line(&fs::read_to_string(path).unwrap_or_default());
        return Err(Problem::Ended { what: "Postgres' initdb", status: status.to_string(), last_line });
    }
    fs::rename(&partial, data).map_err(doing())
}

/// Logs in and runs `SELECT 1`.
pub(crate) async fn answers(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut startup = vec![0, 3, 0, 0];
    startup.extend(format!("user\0{USER}\0database\0{USER}\0\0").bytes());
    let length = i32::try_from(startup.len() + 4).map_err(io::Error::other)?;
    stream.write_i32(length).await?;
    stream.write_all(&startup).await?;
    until_idle(&mut stream).await?;
    stream.write_all(b"Q\0\0\0\x0dSELECT 1\0").await?;
    if until_idle(&mut stream).await?.contains(&b'D') {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "SELECT 1 gave no row"))
}

/// Reads messages up to «ready for query»; returns their types.
async fn until_idle(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut kinds = Vec::new();
    loop {
        let (kind, length) = (stream.read_u8().await?, stream.read_i32().await?);
        let length = u64::try_from(length.saturating_sub(4)).map_err(io::Error::other)?;
        tokio::io::copy(&mut (&mut *stream).take(length.min(65_536)), &mut tokio::io::sink()).await?;
        kinds.push(kind);
        match kind {
            b'Z' => return Ok(kinds),
            b'E' => return Err(io::Error::other("the server refuses")),
            _ if kinds.len() > 64 => return Err(io::Error::other("this is not Postgres")),
            _ => {}
        }
    }
}
