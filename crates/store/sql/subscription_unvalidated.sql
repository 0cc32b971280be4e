update subscription set validation_sent = now(), validations = validations + 1
where id in (
    select id from subscription
    where not validated and deleted is null and validation_sent < now() - $1::bigint * interval '1 millisecond' and validations < $2
    order by validation_sent limit $3 for update skip locked
)
returning id, position, endpoint, source_filter, resource_filter, subject_filter, type_filter, include_subunits, consumer, created_by, created, validated, paused, deleted is not null as deleted, validated_position, mark, endpoint_revision, subject_sent
