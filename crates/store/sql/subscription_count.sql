select count(*) from subscription where consumer = $1 and deleted is null
