select identity, kafka_partition, kafka_offset from events where identity = any($1)
