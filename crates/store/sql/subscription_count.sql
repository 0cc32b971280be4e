select count(*) from (select from subscription where consumer = $1 and deleted is null limit $2) as found
