select sequence, registered, event from (
    select sequence, registered, event, type, source, resource, subject, alternative_subject, instance, time
    from events
    where subject = $1 and sequence > $2
    order by sequence
    limit $13
) as scanned
where ($3::text is null or resource = $3)
    and ($4::text is null or subject = $4)
    and ($5::text is null or alternative_subject = $5)
    and ($6::text[] is null or type like any($6))
    and ($7::text[] is null or type ilike any($7))
    and ($8::text[] is null or source ilike any($8))
    and ($9::timestamptz is null or coalesce(time, registered) >= $9)
    and ($10::timestamptz is null or coalesce(time, registered) <= $10)
    and ($11::timestamptz is null or registered >= $11)
    and ($12::text is null or instance = $12)
order by sequence
limit $14
