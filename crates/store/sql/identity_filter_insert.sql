insert into identity_filter (partition_number, format, filter) values ($1, $2, $3)
on conflict (partition_number, format) do update set filter = excluded.filter
