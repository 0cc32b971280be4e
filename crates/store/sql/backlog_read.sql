select endpoint, deliveries, extract(epoch from until - written)::double precision, extract(epoch from until - now())::double precision
from endpoint_backlog where endpoint = any($1) and until > now()
