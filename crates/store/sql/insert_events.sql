insert into events (sequence, identity, id_hash, registered, time, kafka_partition, kafka_offset,
    type, source, resource, subject, alternative_subject, instance, event)
select $1 + row.number, row.identity, row.id_hash, $2, row.time, row.kafka_partition, row.kafka_offset,
    row.type, row.source, row.resource, row.subject, row.alternative_subject, row.instance, row.event
from unnest($3::uuid[], $4::bigint[], $5::timestamptz[], $6::int[], $7::bigint[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::text[], $13::text[], $14::text[]) with ordinality
    as row (identity, id_hash, time, kafka_partition, kafka_offset, type, source, resource, subject,
        alternative_subject, instance, event, number)
