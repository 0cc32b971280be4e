-- Which changes of subscriptions are in force, and what tells a subscription from another that is given its number.

alter table subscription
    -- Random, and kept for good: after a failover that lost rows a number may be given again.
    add column mark uuid not null default gen_random_uuid(),
    -- Rises whenever the endpoint changes: what the old one answers proves nothing about the new one.
    add column endpoint_revision int not null default 1,
    -- The position at which it was validated; later changes leave it.
    add column validated_position bigint;
update subscription set validated_position = position where validated;

-- What each running dispatcher holds of the changes. It lives by the database's clock.
create table dispatcher (
    id uuid primary key,
    -- All changes up to here; 0 while it holds nothing whole.
    position bigint not null,
    seen timestamptz not null
) with (fillfactor = 20);

-- Whose they are; nothing where they were written before there were marks.
alter table delivery_attempt add column mark uuid;
alter table dead_letter add column mark uuid;

-- The history that the server writes now. It is another one after a failover and after a restore to an earlier time.
create function server_timeline() returns bigint language sql as $$
    select ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint
$$;
