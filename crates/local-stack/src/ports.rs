//! Ports of our own: remembered in the data folder, chosen anew when another process has taken one.
//!
//! They lie below the range from which systems number outgoing connections (32768 upwards on Linux): a client that tries again and
//! again to reach a server that was just killed could otherwise be given that very port, talk to itself, and keep the server out.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process,
    time::{SystemTime, UNIX_EPOCH},
};

const FIRST: u16 = 15_000;
const COUNT: u16 = 17_000;

/// One port for each listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) kafka: u16,
    pub(crate) controller: u16,
    pub(crate) postgres: u16,
}

impl Ports {
    /// The ports of the last run where they are still free, else new ones. `fixed` (Kafka, Postgres) is taken as it is.
    pub(crate) fn choose(file: &Path, fixed: [Option<u16>; 2]) -> Self {
        let old = fs::read_to_string(file).unwrap_or_default();
        let mut taken: Vec<u16> = fixed.into_iter().flatten().collect();
        let [kafka, postgres] = fixed;
        let mut pick = |name: &str, fixed: Option<u16>| {
            let port = fixed
                .or_else(|| read(&old, name).filter(|port| !taken.contains(port) && is_free(*port)))
                .unwrap_or_else(|| new_port(&taken));
            taken.push(port);
            port
        };
        Self {
            kafka: pick("kafka", kafka),
            controller: pick("controller", None),
            postgres: pick("postgres", postgres),
        }
    }

    pub(crate) fn save(self, file: &Path) -> io::Result<()> {
        let Self { kafka, controller, postgres } = self;
        fs::write(file, format!("kafka {kafka}\ncontroller {controller}\npostgres {postgres}\n"))
    }
}

/// Whether nobody listens there.
pub(crate) fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

fn read(text: &str, name: &str) -> Option<u16> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|port| port.trim().parse().ok())
}

/// Starts somewhere else in each process, so that two that start together do not meet.
fn new_port(taken: &[u16]) -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    let start = (now ^ process::id().wrapping_mul(0x9E37_79B1)) % u32::from(COUNT);
    let start = u16::try_from(start).expect("a remainder of a u16 is a u16");
    (0..COUNT)
        .map(|step| FIRST + (start.wrapping_add(step)) % COUNT)
        .find(|port| !taken.contains(port) && is_free(*port))
        .unwrap_or(FIRST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_last_run_are_taken_again_unless_somebody_listens_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ports");
        let first = Ports::choose(&file, [None, None]);
        first.save(&file).unwrap();
        assert_eq!(Ports::choose(&file, [None, None]), first);
        let _holder = TcpListener::bind((Ipv4Addr::LOCALHOST, first.postgres)).unwrap();
        let second = Ports::choose(&file, [None, None]);
        assert_eq!((second.kafka, second.controller), (first.kafka, first.controller));
        assert_ne!(second.postgres, first.postgres);
    }

    #[test]
    fn a_fixed_port_is_taken_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let ports = Ports::choose(&folder.path().join("ports"), [Some(9), None]);
        assert_eq!(ports.kafka, 9);
    }
}
