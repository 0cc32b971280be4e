select last, registered, timeline, partition_size,
    ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::bigint as timeline_now,
    clock_timestamp() as now
from feed_head
for update
