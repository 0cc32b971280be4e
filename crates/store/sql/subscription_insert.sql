insert into subscription (position, fingerprint, endpoint, source_filter, resource_filter, subject_filter, type_filter,
    include_subunits, consumer, created_by, subject_sent)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
returning id, position, endpoint, source_filter, resource_filter, subject_filter, type_filter, include_subunits, consumer, created_by, created, validated, paused, deleted is not null as deleted, validated_position, mark, endpoint_revision, subject_sent
