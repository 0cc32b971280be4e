select record from delivery_attempt where subscription = $1 order by at desc, kafka_offset desc limit $2
