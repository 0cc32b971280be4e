with gone as (
    delete from endpoint_backlog where endpoint = any($4) or until < now() - interval '1 hour'
)
insert into endpoint_backlog (endpoint, deliveries, until)
select endpoint, deliveries, now() + seconds * interval '1 second'
from unnest($1::text[], $2::bigint[], $3::double precision[]) as new (endpoint, deliveries, seconds)
on conflict (endpoint) do update
set deliveries = excluded.deliveries, until = excluded.until, written = now()
