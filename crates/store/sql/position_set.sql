update projection_offset set next_offset = $4
where topic = $1 and kafka_partition = $2 and next_offset = $3
