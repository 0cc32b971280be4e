//! The benchmark of the platform (`make bench`): one table, each row beside its limit on this machine.
//!
//! A row's two sides alternate in one run, so that both meet the same machine; what counts is their ratio. It starts its own Kafka
//! and Postgres in a temporary folder, the stand-in for Altinn, and the services, in this process or as child processes.
//!
//! * [`rows`]: what is measured, one file a stage of the pipeline.
//! * [`world`], [`sample`], [`load`], [`sink`], [`cpu`]: what the rows share.
//! * [`report`], [`figures`]: the table, the file, medians.
//!
//! `bench` runs everything; `bench ingest push` only these rows, and leaves the file alone.

mod cpu;
mod figures;
mod load;
mod machine;
mod report;
mod rows;
mod sample;
mod sink;
mod world;

use std::{path::Path, process::ExitCode, time::Instant};

use local_stack::{Stack, StackOptions};

use crate::{report::Report, world::Bench};

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    machine::raise_open_files();
    machine::build_the_services()?;
    let stack = Stack::start(StackOptions::temporary(), |step| eprintln!("bench: {step}")).await?;
    let bench = Bench { brokers: stack.brokers(), database_url: stack.database_url() };
    let (mut report, started) = (Report::new(machine::machine(), machine::commit()), Instant::now());
    for group in rows::Group::ALL {
        if !asked.is_empty() && !asked.iter().any(|name| name == group.name()) {
            continue;
        }
        eprintln!("bench: {} ({:.0} s so far)", group.name(), started.elapsed().as_secs_f64());
        match Box::pin(group.measure(&bench)).await {
            Ok(rows) => report.rows.extend(rows),
            Err(error) => report.failed.push(format!("{}: {error:#}", group.name())),
        }
    }
    stack.stop().await;
    println!("{}", report.table());
    println!("{:.0} s", started.elapsed().as_secs_f64());
    if asked.is_empty() {
        report.write(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/latest.json"))?;
    }
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
