select drop_events_partition($1)
