select identity, event from events where sequence >= $2 and identity = any($1)
