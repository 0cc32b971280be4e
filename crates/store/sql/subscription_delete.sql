update subscription set position = $2, deleted = now() where id = $1 and deleted is null
