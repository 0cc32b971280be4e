-- The next $3 rows, but none after $4 bytes.
select sequence, registered, event, false
from (
    select sequence, registered, event, sum(octet_length(event))
        over (order by sequence rows between unbounded preceding and 1 preceding) as before
    from (select sequence, registered, event from events where resource = $1 and sequence > $2 order by sequence limit $3) as next
) as counted
where coalesce(before, 0) < $4
order by sequence
