insert into dispatcher (id, position, seen)
select $1::uuid,
    case when $3::bigint = server_timeline() and $2::bigint <= head.last then $2::bigint else 0 end,
    clock_timestamp()
from subscription_head head
on conflict (id) do update set position = excluded.position, seen = excluded.seen
