insert into group_start (consumer_group, topic)
select * from unnest($1::text[], $2::text[])
on conflict (consumer_group, topic) do nothing
