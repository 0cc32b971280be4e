update subscription set position = $2, validated = true where id = $1 and deleted is null and not validated
