delete from dispatcher where seen < clock_timestamp() - interval '1 hour'
