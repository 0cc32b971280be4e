select id, position, endpoint, source_filter, resource_filter, subject_filter, type_filter, include_subunits, consumer, created_by, created, validated, paused, deleted is not null as deleted
from subscription where position > $1 order by position limit $2
