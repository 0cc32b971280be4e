select sequence from events where resource = $1 and sequence > $2 order by sequence offset $3 limit 1
