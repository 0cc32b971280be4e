select at, delivery, reason, attempts, event from dead_letter where subscription = $1 order by at desc, kafka_offset desc limit $2
