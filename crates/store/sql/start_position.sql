insert into projection_offset (topic, kafka_partition, next_offset)
select $1, start.kafka_partition, start.oldest
from unnest($2::int[], $3::bigint[]) as start (kafka_partition, oldest)
on conflict (topic, kafka_partition) do update set next_offset = projection_offset.next_offset
returning kafka_partition, next_offset
