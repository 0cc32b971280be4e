//! CPU seconds of this process and of all below it, from `/proc`. Processes that ended count through their parents.

use std::{collections::HashMap, fs};

/// Ticks a second of the times in `/proc`; fixed on Linux.
const TICKS: f64 = 100.0;

/// CPU seconds used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// By everything: this process, services in it or below it, Kafka, Postgres.
    pub(crate) all: f64,
    /// By service processes below this one.
    pub(crate) services: f64,
}

struct Process {
    parent: i32,
    name: String,
    seconds: f64,
}

/// What was used until now.
pub(crate) fn used() -> Used {
    let processes: HashMap<i32, Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let id: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((id, read(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?))
        })
        .collect();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let is_below = |mut id: i32| {
        while id > 1 {
            if id == own {
                return true;
            }
            id = processes.get(&id).map_or(0, |process| process.parent);
        }
        false
    };
    let mut used = Used::default();
    for (_, process) in processes.iter().filter(|(id, _)| is_below(**id)) {
        used.all += process.seconds;
        if process.name == "altinn-events" {
            used.services += process.seconds;
        }
    }
    used
}

/// One line of `/proc/<id>/stat`: the name stands in parentheses and may hold anything.
fn read(stat: &str) -> Option<Process> {
    let (head, rest) = stat.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 14 to 17: user and system time, own and of children that ended and were waited for.
    let ticks: f64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    Some(Process { parent: fields.get(1)?.parse().ok()?, name: name.to_owned(), seconds: ticks / TICKS })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let process = read("42 (a (b) c) S 7 42 42 0 -1 4194560 1 0 0 0 100 50 25 25 20 0 1 0 5").unwrap();
        assert_eq!((process.parent, process.name.as_str(), process.seconds), (7, "a (b) c", 2.0));
        assert!(read("42 (x) S 7").is_none());
    }
}
