//! The limit of descriptors of the process, and what callers may take of it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Callers take at most one part in so many; the rest is for the ways out, the log, the database and files.
const CALLERS_PART: usize = 4;

/// The limit in force.
pub fn limit() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX)
}

/// Raises the limit to the most that this process may have. Where it may not, the limit stays.
pub fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        tracing::debug!("the limit of descriptors stays");
    }
}

/// How many connections of callers there may be, where so many are wished for.
pub fn for_callers(wished: usize) -> usize {
    wished.min((limit() / CALLERS_PART).max(1))
}
