select substr(c.relname, 8)::bigint as number
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = to_regclass('events') and c.relname ~ '^events_[0-9]+$'
order by 1
