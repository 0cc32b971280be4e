delete from dispatcher where id = $1
