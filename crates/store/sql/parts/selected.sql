-- Of the rows that are looked at, no more than $3, those that pass, until there are $4, or those before have $5 bytes. The last row looked at
-- comes too, whether it passes or not: a reader goes on after it.
select sequence, registered, case when selected then event end as event, number = $3 as is_last
from (
    select judged.*, sum(case when selected then octet_length(event) else 0 end)
        over (order by sequence rows between unbounded preceding and 1 preceding) as before
    from (
        select sequence, registered, event, row_number() over (order by sequence) as number,
            ($6::text is null or resource = $6)
            and ($7::text is null or alternative_subject = $7)
            and ($8::text[] is null or type like any($8))
            and ($9::text[] is null or type ilike any($9))
            and ($10::text[] is null or source ilike any($10))
            and ($11::timestamptz is null or coalesce(time, registered) >= $11)
            and ($12::timestamptz is null or coalesce(time, registered) <= $12)
            and ($13::timestamptz is null or registered >= $13)
            and ($14::text is null or instance = $14) as selected
        from looked_at
    ) as judged
) as counted
where (selected or number = $3) and coalesce(before, 0) < $5
order by sequence
limit $4
