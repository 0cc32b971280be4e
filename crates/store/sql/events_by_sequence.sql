select sequence, event from events where sequence = any($1)
