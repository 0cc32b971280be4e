select at, delivery, reason, attempts from dead_letter
where subscription = $1 and (mark = $2 or mark is null)
order by at desc, kafka_offset desc limit $3
