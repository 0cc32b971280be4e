select sequence, registered, event, type, source, resource, alternative_subject, instance, time
from (
    -- The next rows of each subject come from its own end of the index, and only those that are looked at are read.
    select next.sequence as next_sequence
    from (select distinct subject as asked from unnest($1::text[]) as listed (subject)) as subjects
    cross join lateral (
        select sequence from events where subject = asked and sequence > $2 order by sequence limit $3
    ) as next
    order by next.sequence
    limit $3
) as nearest
join events on sequence = next_sequence
order by sequence
