select sequence, event from events where id_hash = $1 order by sequence desc limit 8
