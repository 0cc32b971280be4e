-- Subscriptions and the order of their changes.

create table subscription_head (
    only_row boolean primary key default true check (only_row),
    last bigint not null default 0
);
insert into subscription_head default values;

create table subscription (
    id bigint generated always as identity primary key,
    position bigint not null unique,
    -- Of all that makes two subscriptions the same (contract §6.2).
    fingerprint uuid not null,
    endpoint text not null,
    source_filter text,
    resource_filter text,
    subject_filter text,
    type_filter text,
    include_subunits boolean not null,
    consumer text not null,
    created_by text not null,
    created timestamptz not null default now(),
    validated boolean not null default false,
    validation_sent timestamptz not null default now(),
    validations int not null default 1,
    paused boolean not null default false,
    deleted timestamptz
);
create unique index subscription_fingerprint on subscription (fingerprint) where deleted is null;
create index subscription_consumer on subscription (consumer, id) where deleted is null;
create index subscription_unvalidated on subscription (validation_sent) where not validated and deleted is null;
