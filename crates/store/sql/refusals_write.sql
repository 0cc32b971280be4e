insert into subscription_refusal (subscription, at, reason)
select distinct on (subscription) subscription, at, reason
from unnest($1::bigint[], $2::timestamptz[], $3::text[]) as new (subscription, at, reason)
order by subscription, at desc
on conflict (subscription) do update set at = excluded.at, reason = excluded.reason
where subscription_refusal.at < excluded.at
