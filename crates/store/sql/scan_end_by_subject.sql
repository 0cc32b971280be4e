select sequence from events where subject = $1 and sequence > $2 order by sequence offset $3 limit 1
