insert into dead_letter (at, subscription, delivery, reason, attempts, kafka_partition, kafka_offset, event, mark)
select * from unnest($1::timestamptz[], $2::bigint[], $3::uuid[], $4::text[], $5::int[], $6::int[], $7::bigint[], $8::text[], $9::uuid[])
on conflict (subscription, at, kafka_offset, kafka_partition) do nothing
