select drop_day_partitions($1, $2)
