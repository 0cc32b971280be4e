insert into subscription_refusal (subscription, mark, at, reason)
select distinct on (subscription) subscription, mark, at, reason
from unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::text[]) as new (subscription, mark, at, reason)
order by subscription, at desc
on conflict (subscription) do update set mark = excluded.mark, at = excluded.at, reason = excluded.reason
where subscription_refusal.at < excluded.at
