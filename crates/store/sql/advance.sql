update projection_offset as held
set next_offset = step.next
from unnest($2::int[], $3::bigint[], $4::bigint[]) as step (kafka_partition, expected, next)
where held.topic = $1 and held.kafka_partition = step.kafka_partition and held.next_offset = step.expected
