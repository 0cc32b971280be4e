-- Endpoints that are slower than their events: what was put back for them, written by the dispatcher that owns them. No row: not
-- overloaded. A row outlives its writer, because what was put back does; the next owner counts on from it.

create table endpoint_backlog (
    -- Origin and path, as the key of the deliveries.
    endpoint text primary key,
    deliveries bigint not null,
    written timestamptz not null default now(),
    -- When all of it will be done, at the pace of late.
    until timestamptz not null
);
create index endpoint_backlog_until on endpoint_backlog (until);
