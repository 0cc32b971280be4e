select changed.*, head.last, head.timeline
from (select last, server_timeline() as timeline from subscription_head) head
left join lateral (
    select id, position, endpoint, source_filter, resource_filter, subject_filter, type_filter, include_subunits, consumer, created_by, created, validated, paused, deleted is not null as deleted, validated_position, mark, endpoint_revision, subject_sent
    from subscription where position > $1 order by position limit $2
) changed on true
order by changed.position
