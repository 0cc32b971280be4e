insert into feed_head (timeline, partition_size)
values (('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint, $1)
on conflict do nothing
