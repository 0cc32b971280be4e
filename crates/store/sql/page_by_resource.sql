-- Looks at no more than $12 rows and stops when $13 are selected, or those before have $14 bytes. The last row looked at comes too, selected
-- or not: a reader goes on after it.
select sequence, registered, case when selected then event end as event, number = $12 as is_last
from (
    select judged.*, sum(case when selected then octet_length(event) else 0 end)
        over (order by sequence rows between unbounded preceding and 1 preceding) as before
    from (
        select sequence, registered, event, row_number() over (order by sequence) as number,
            ($3::text is null or resource = $3)
            and ($4::text is null or alternative_subject = $4)
            and ($5::text[] is null or type like any($5))
            and ($6::text[] is null or type ilike any($6))
            and ($7::text[] is null or source ilike any($7))
            and ($8::timestamptz is null or coalesce(time, registered) >= $8)
            and ($9::timestamptz is null or coalesce(time, registered) <= $9)
            and ($10::timestamptz is null or registered >= $10)
            and ($11::text is null or instance = $11) as selected
        from (
            select sequence, registered, event, type, source, resource, subject, alternative_subject, instance, time
            from events
            where resource = $1 and sequence > $2
            order by sequence
            limit $12
        ) as looked_at
    ) as judged
) as counted
where (selected or number = $12) and coalesce(before, 0) < $14
order by sequence
limit $13
