//! Apache Kafka: one broker that is its own controller (KRaft), on the disk of one machine.

use std::{ffi::OsString, fs, io, net::Ipv4Addr, path::Path, process::Command};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    account::Account,
    artifacts::{Artifacts, pinned},
    error::{Problem, Result, starting, while_doing},
    folder::Folder,
    ports::Ports,
};

/// Any 16 bytes in URL-safe base64; one cluster never meets another.
const CLUSTER_ID: &str = "AltinnEventsLocalKafkQ";
/// A metadata request of version 1 for no topic: length, API 3, version 1, correlation 7, no client id, empty list.
const METADATA_REQUEST: [u8; 18] = [0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 7, 0xff, 0xff, 0, 0, 0, 0];

/// Settings that do not depend on where the broker runs; each says why it differs from Kafka's own default.
const PROPERTIES: &str = include_str!("kafka.properties");

/// Writes an empty data folder that is copied for each new stack: 2 s of a JVM are paid once.
pub(crate) fn format(java: &Path, cache: &Path) -> Result<()> {
    let template = cache.join("kafka-template");
    let doing = || while_doing(format!("write {}", template.display()));
    fs::create_dir_all(&template).map_err(doing())?;
    let properties = cache.join("format.properties");
    let ports = Ports { kafka: 9092, controller: 9093, postgres: 0 };
    fs::write(&properties, broker_properties(ports, &template)).map_err(doing())?;
    let output = Command::new(java)
        .arg("-cp")
        .arg(cache.join("libs/*"))
        .args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"])
        .arg(&properties)
        .output()
        .map_err(starting("java"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned();
    Err(Problem::Ended { what: "Kafka's format tool", status: output.status.to_string(), last_line: said })
}

/// Lays out the broker's files below `folder`; returns the command line that starts it.
pub(crate) fn prepare(
    folder: &Folder,
    artifacts: &Artifacts,
    ports: Ports,
    account: Account,
) -> Result<Vec<OsString>> {
    let home = folder.path.join("kafka");
    let doing = || while_doing(format!("write {}", home.display()));
    let (data, properties, log4j) =
        (home.join("data"), home.join("server.properties"), home.join("log4j2.xml"));
    if !data.exists() {
        copy_template(&artifacts.kafka_template(), &data, account).map_err(doing())?;
    }
    fs::write(home.join("version"), format!("{}\n", pinned("kafka"))).map_err(doing())?;
    fs::write(&properties, broker_properties(ports, &data)).map_err(doing())?;
    fs::write(&log4j, include_str!("log4j2.xml")).map_err(doing())?;
    let mut line = account.command_line(artifacts.java());
    line.extend(["-Xms256m", "-Xmx512m", "-XX:+ExitOnOutOfMemoryError"].map(OsString::from));
    line.push(option("-Dlog4j2.configurationFile=", &log4j));
    line.push(option("-Dkafka.log=", &folder.logs().join("kafka.log")));
    line.push("-cp".into());
    line.push(artifacts.class_path().into());
    line.push("kafka.Kafka".into());
    line.push(properties.into());
    Ok(line)
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

fn broker_properties(ports: Ports, data: &Path) -> String {
    let Ports { kafka, controller, .. } = ports;
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{kafka},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{kafka}\ncontroller.listener.names=CONTROLLER\nlog.dirs={}\n{PROPERTIES}",
        data.display()
    )
}

/// The folder appears whole or not at all.
fn copy_template(template: &Path, data: &Path, account: Account) -> io::Result<()> {
    let partial = data.with_extension("partial");
    fs::create_dir_all(&partial)?;
    for file in fs::read_dir(template)? {
        let file = file?;
        let copy = partial.join(file.file_name());
        fs::copy(file.path(), &copy)?;
        account.give(&copy)?;
    }
    account.give(&partial)?;
    fs::rename(&partial, data)
}

/// Asks for the cluster's metadata; an answer that lists a broker means that it is up and has been let in.
pub(crate) async fn answers(port: u16) -> io::Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(&METADATA_REQUEST).await?;
    let (length, correlation) = (stream.read_i32().await?, stream.read_i32().await?);
    let brokers = stream.read_i32().await?;
    if length > 8 && correlation == 7 && brokers > 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "no broker has been let into the cluster"))
}
