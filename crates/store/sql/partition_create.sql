select create_events_partition($1)
