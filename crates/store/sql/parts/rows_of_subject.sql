select sequence, registered, event, type, source, resource, alternative_subject, instance, time
from events
where subject = $1 and sequence > $2
order by sequence
limit $3
