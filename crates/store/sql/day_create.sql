select create_day_partition($1, $2)
