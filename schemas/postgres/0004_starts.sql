-- Which groups have started on which topics, places of attempts and dead letters told once, filters of closed partitions.

-- A group that is not here is new on its topic, and starts where it declares; one that is here and has no position has lost it.
create table group_start (
    consumer_group text not null,
    topic text not null,
    started timestamptz not null default now(),
    primary key (consumer_group, topic)
);

-- A platform that has run before this table was there has started these.
insert into group_start (consumer_group, topic)
select consumer_group, topic
from (values
    ('dispatcher.match', 'events'),
    ('dispatcher.push', 'deliveries'),
    ('dispatcher.tiers', 'deliveries.retry.10s'),
    ('dispatcher.tiers', 'deliveries.retry.30s'),
    ('dispatcher.tiers', 'deliveries.retry.1m'),
    ('dispatcher.tiers', 'deliveries.retry.5m'),
    ('dispatcher.tiers', 'deliveries.retry.10m'),
    ('dispatcher.tiers', 'deliveries.retry.30m'),
    ('dispatcher.tiers', 'deliveries.retry.1h'),
    ('dispatcher.tiers', 'deliveries.retry.3h'),
    ('dispatcher.tiers', 'deliveries.retry.6h'),
    ('dispatcher.tiers', 'deliveries.retry.12h')
) as known (consumer_group, topic)
where exists (select from projection_offset);

-- A record that is projected again has the same place and the same time, and is told by both. What was projected twice before
-- would stand in the way.
delete from delivery_attempt as twin using delivery_attempt as kept
where kept.at = twin.at and kept.subscription = twin.subscription and kept.kafka_partition = twin.kafka_partition
    and kept.kafka_offset = twin.kafka_offset and kept.tableoid = twin.tableoid and kept.ctid < twin.ctid;
delete from dead_letter as twin using dead_letter as kept
where kept.at = twin.at and kept.subscription = twin.subscription and kept.kafka_partition = twin.kafka_partition
    and kept.kafka_offset = twin.kafka_offset and kept.tableoid = twin.tableoid and kept.ctid < twin.ctid;
create unique index delivery_attempt_place on delivery_attempt (subscription, at, kafka_offset, kafka_partition);
create unique index dead_letter_place on dead_letter (subscription, at, kafka_offset, kafka_partition);
drop index delivery_attempt_subscription;
drop index dead_letter_subscription;

-- Which identities a closed partition of `events` may hold: made once after it closed, never changed, read by every process.
create table identity_filter (
    partition_number bigint not null,
    format smallint not null,
    filter bytea not null,
    primary key (partition_number, format)
);
-- Random bits: nothing is gained by compressing them.
alter table identity_filter alter column filter set storage external;
