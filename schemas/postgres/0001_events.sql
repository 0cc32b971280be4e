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
    event text not null,
    primary key (sequence)
) partition by range (sequence);

create index events_resource on events (resource, sequence);
create index events_subject on events (subject, sequence) where subject is not null;
create index events_id_hash on events (id_hash);

-- Partition `number` holds the sequence numbers from number * size. Identities are unique in each.
create function create_events_partition(number bigint) returns boolean language plpgsql as $$
declare
    size bigint;
    name text := 'events_' || number;
begin
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

create function drop_events_partition(number bigint) returns void language plpgsql as $$
declare
    name text := 'events_' || number;
begin
    execute format('alter table events detach partition %I', name);
    execute format('drop table %I', name);
end
$$;
