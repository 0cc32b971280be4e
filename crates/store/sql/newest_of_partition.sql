select sequence, registered from events where sequence >= $1 and sequence < $2 order by sequence desc nulls last limit 1
