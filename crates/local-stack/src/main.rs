//! `with-local-stack COMMAND…`: runs a command with `KAFKA_BROKERS` and `DATABASE_URL` set to a Kafka and a Postgres that were
//! started for it, and ends with its exit code. Both are gone afterwards, with their data; the logs stay when the command failed.

use std::{
    ffi::OsString,
    process::{ExitCode, ExitStatus},
};

use local_stack::{Stack, StackOptions};
use service::env::Env;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut line = std::env::args_os().skip(1);
    let Some(program) = line.next() else {
        eprintln!(
            "usage: with-local-stack COMMAND [ARGUMENT]…\nexample: with-local-stack cargo test -p kafka-loop"
        );
        return ExitCode::from(64);
    };
    let env = Env::process();
    let stack = Stack::from_env(&env, StackOptions::temporary(), |step| eprintln!("local stack: {step}"));
    let stack = match stack.await {
        Ok(stack) => stack,
        Err(error) => {
            eprintln!("with-local-stack: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = run(&stack, program, line.collect()).await;
    let succeeded = ended.as_ref().is_ok_and(ExitStatus::success);
    if !succeeded && !stack.logs().as_os_str().is_empty() {
        eprintln!("with-local-stack: logs of Kafka and Postgres: {}", stack.logs().display());
        stack.keep_logs().await;
    }
    stack.stop().await;
    match ended {
        Ok(status) => exit_code(status),
        Err(error) => {
            eprintln!("with-local-stack: {error}");
            ExitCode::from(127)
        }
    }
}

/// Runs the command to its end. Ctrl-C reaches it directly; SIGTERM ends it.
async fn run(stack: &Stack, program: OsString, arguments: Vec<OsString>) -> std::io::Result<ExitStatus> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut command = Command::new(&program);
    command.args(arguments).env("KAFKA_BROKERS", stack.brokers()).env("DATABASE_URL", stack.database_url());
    let mut child = command.kill_on_drop(true).spawn()?;
    loop {
        tokio::select! {
            status = child.wait() => return status,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => child.start_kill()?,
        }
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
