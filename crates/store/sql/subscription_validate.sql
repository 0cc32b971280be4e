update subscription set position = $2, validated = true, validated_position = $2
where id = $1 and mark = $3 and endpoint_revision = $4 and deleted is null and not validated
