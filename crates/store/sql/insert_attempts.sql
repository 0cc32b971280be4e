insert into delivery_attempt (at, subscription, kafka_partition, kafka_offset, record, mark)
select * from unnest($1::timestamptz[], $2::bigint[], $3::int[], $4::bigint[], $5::text[], $6::uuid[])
on conflict (subscription, at, kafka_offset, kafka_partition) do nothing
