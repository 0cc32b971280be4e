-- The oldest event with this hash of its id in a feed, after a place. Ids that share a hash are told apart by who asks.
select sequence, event from events
where id_hash = $1 and sequence > $2
    and ($3::text is null or resource = $3)
    and ($4::text[] is null or subject = any($4))
    and ($5::text is null or alternative_subject = $5)
    and ($6::text is null or instance = $6)
order by sequence
limit 1
