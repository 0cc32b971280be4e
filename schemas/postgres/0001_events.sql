-- Events, their order, and how far each topic has been projected.

-- The one order of all events. Its row lock makes allocation order = commit order = visible order.
create table feed_head (
    only_row boolean primary key default true check (only_row),
    last bigint not null default 0,
    registered timestamptz not null default 'epoch',
    timeline bigint not null,
    partition_size bigint not null check (partition_size > 0),
    partition_opened timestamptz not null default now()
);

-- The next offset to project, updated in the transaction that writes the rows, with the expected old value.
create table projection_offset (
    topic text not null,
    kafka_partition int not null,
    next_offset bigint not null,
    primary key (topic, kafka_partition)
);

create table events (
    sequence bigint not null,
    identity uuid not null,
    id_hash bigint not null,
    registered timestamptz not null,
    time timestamptz,
    kafka_partition int not null,
    kafka_offset bigint not null,
    type text not null,
    source text not null,
    resource text not null,
    subject text,
    alternative_subject text,
    instance text,
    event text not null
) partition by range (sequence);

-- `nulls first`, so that it does not give the order in which feeds are read: the planner would take it for a frequent resource
-- and walk over everything that came after its last event. A feed can only be read by its own index, or sorted.
create unique index events_sequence on events (sequence nulls first);
create index events_resource on events (resource, sequence);
create index events_subject on events (subject, sequence) where subject is not null;
-- The sequence is in it so that the newest of an id is one step, also before the planner has seen a new partition's numbers.
create index events_id_hash on events (id_hash, sequence);

-- Long events are compressed; lz4 costs a fraction of the default method, and not every build of the server has it.
do $$
begin
    if exists (select from pg_settings where name = 'default_toast_compression' and 'lz4' = any (enumvals)) then
        alter table events alter column event set compression lz4;
    end if;
end
$$;

-- Partition `number` holds the sequence numbers from number * size. Identities are unique in each.
create function create_events_partition(number bigint) returns boolean language plpgsql as $$
declare
    size bigint;
    name text := 'events_' || number;
begin
    if to_regclass(name) is not null then
        return false;
    end if;
    -- One at a time: whoever comes second finds the partition there.
    lock table only events in share update exclusive mode;
    if to_regclass(name) is not null then
        return false;
    end if;
    select partition_size into strict size from feed_head;
    execute format('create table %I (like events including defaults including compression including constraints)', name);
    execute format('create unique index on %I (identity)', name);
    execute format('alter table events attach partition %I for values from (%s) to (%s)', name, number * size, (number + 1) * size);
    return true;
end
$$;

-- Every reader and writer waits behind the lock that this asks for, so it gives up soon and is tried again in the next round.
create function drop_events_partition(number bigint) returns boolean language plpgsql as $$
begin
    perform set_config('lock_timeout', '500ms', true);
    execute format('drop table %I', 'events_' || number);
    return true;
exception
    when undefined_table or lock_not_available then
        return false;
end
$$;

-- Where these identities stand, in the partitions from the sequence number `first` on. Planned at every call: a plan that was
-- made while a partition was empty would read a full one from end to end.
create function find_identities(asked uuid[], first bigint)
    returns table (identity uuid, sequence bigint, kafka_partition int, kafka_offset bigint)
    language plpgsql stable set plan_cache_mode = force_custom_plan
as $$
begin
    return query
        select events.identity, events.sequence, events.kafka_partition, events.kafka_offset
        from events where events.sequence >= first and events.identity = any (asked);
end
$$;
