-- The newest event that a subscription matched and may not receive, so that its owner can be told.
create table subscription_refusal (
    subscription bigint primary key,
    at timestamptz not null,
    reason text not null
);
