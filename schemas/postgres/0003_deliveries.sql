-- What happened to deliveries: attempts and dead letters, in day partitions.

create table delivery_attempt (
    at timestamptz not null,
    subscription bigint not null,
    kafka_partition int not null,
    kafka_offset bigint not null,
    record text not null
) partition by range (at);
create index delivery_attempt_subscription on delivery_attempt (subscription, at, kafka_offset);

create table dead_letter (
    at timestamptz not null,
    subscription bigint not null,
    delivery uuid not null,
    reason text not null,
    attempts int not null,
    kafka_partition int not null,
    kafka_offset bigint not null,
    event text not null
) partition by range (at);
create index dead_letter_subscription on dead_letter (subscription, at, kafka_offset);

-- Rows of days without a partition of their own, such as days long past that are projected again.
create table delivery_attempt_other partition of delivery_attempt default;
create table dead_letter_other partition of dead_letter default;

-- Rows of that day that came before their partition move into it.
create function create_day_partition(parent text, day date) returns boolean language plpgsql as $$
declare
    name text := parent || '_' || to_char(day, 'YYYYMMDD');
    first timestamptz := day::timestamp at time zone 'UTC';
    last timestamptz := (day + 1)::timestamp at time zone 'UTC';
begin
    if to_regclass(name) is not null then
        return false;
    end if;
    -- One at a time: whoever comes second finds the partition there.
    execute format('lock table only %I in share update exclusive mode', parent);
    if to_regclass(name) is not null then
        return false;
    end if;
    execute format('create table %I (like %I including all)', name, parent);
    execute format('lock table %I in share row exclusive mode', parent || '_other');
    execute format('with moved as (delete from %I where at >= %L and at < %L returning *) insert into %I select * from moved',
        parent || '_other', first, last, name);
    execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, name, first, last);
    return true;
end
$$;

-- Drops whole days, and deletes what stands in no day of its own. How many days are gone.
create function drop_day_partitions(parent text, before date) returns int language plpgsql as $$
declare
    child record;
    dropped int := 0;
begin
    perform set_config('lock_timeout', '500ms', true);
    for child in
        select c.relname from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = to_regclass(parent) and c.relname ~ '_[0-9]{8}$'
            and to_date(right(c.relname, 8), 'YYYYMMDD') < before
    loop
        begin
            execute format('drop table %I', child.relname);
            dropped := dropped + 1;
        exception
            when undefined_table or lock_not_available then null;
        end;
    end loop;
    execute format('delete from %I where at < %L', parent || '_other', before::timestamp at time zone 'UTC');
    return dropped;
end
$$;
