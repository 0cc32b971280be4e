select sequence, registered, event, false from events where subject = $1 and sequence > $2 order by sequence limit $3
