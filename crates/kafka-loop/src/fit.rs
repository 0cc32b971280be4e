//! Whether topics that exist have the partitions and the replicas that they should; each sentence ends with what mends it.

/// A topic as the cluster has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) partitions: usize,
    /// Of the partition that has fewest.
    pub(crate) replicas: usize,
}

/// What does not fit about one topic.
pub(crate) fn misfits(name: &str, found: Found, partitions: i32, replicas: i32) -> Vec<String> {
    let mut misfits = Vec::new();
    if usize::try_from(partitions).is_ok_and(|wanted| found.partitions < wanted) {
        misfits.push(format!(
            "{name} has {} partitions instead of {partitions}; stop all publishers first, then: kafka-topics.sh --alter --topic {name} --partitions {partitions}",
            found.partitions
        ));
    }
    if usize::try_from(replicas).is_ok_and(|wanted| found.replicas < wanted) {
        misfits.push(format!(
            "{name} has {} replicas instead of {replicas}; mend it with: kafka-reassign-partitions.sh --execute and a plan that gives each of its partitions {replicas} (TOPIC_REPLICATION says how many this cluster should have)",
            found.replicas
        ));
    }
    misfits
}

/// Two topics on which a key must find the same partition.
pub(crate) fn differ((name, found): (&str, usize), (twin, other): (&str, usize)) -> Option<String> {
    if found == other {
        return None;
    }
    let (fewer, most) = if found < other { (name, other) } else { (twin, found) };
    Some(format!(
        "{name} has {found} partitions and {twin} {other}, and a key must find the same one on both; stop all dispatchers, then: kafka-topics.sh --alter --topic {fewer} --partitions {most}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_partitions_or_replicas_do_not_fit_and_more_do() {
        let found = |partitions, replicas| Found { partitions, replicas };
        assert_eq!(misfits("t", found(12, 3), 12, 3), Vec::<String>::new());
        assert_eq!(misfits("t", found(24, 4), 12, 3), Vec::<String>::new());
        let both = misfits("t", found(6, 1), 12, 3);
        assert!(both[0].contains("--alter --topic t --partitions 12"), "{both:?}");
        assert!(both[1].starts_with("t has 1 replicas instead of 3"), "{both:?}");
    }

    #[test]
    fn topics_that_share_a_key_must_have_as_many_partitions() {
        assert_eq!(differ(("a", 12), ("b", 12)), None);
        for (one, other, fewer) in [(12, 24, "a"), (24, 12, "b")] {
            let differ = differ(("a", one), ("b", other)).unwrap();
            assert!(differ.ends_with(&format!("--alter --topic {fewer} --partitions 24")), "{differ}");
        }
    }
}
