select id, position, endpoint, source_filter, resource_filter, subject_filter, type_filter, include_subunits, consumer, created_by, created, validated, paused, deleted is not null as deleted, validated_position, mark, endpoint_revision, subject_sent
from subscription where id = $1
