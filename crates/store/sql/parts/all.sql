-- The rows that are looked at, but none after $4 bytes.
select sequence, registered, event, false
from (
    select sequence, registered, event, sum(octet_length(event))
        over (order by sequence rows between unbounded preceding and 1 preceding) as before
    from looked_at
) as counted
where coalesce(before, 0) < $4
order by sequence
