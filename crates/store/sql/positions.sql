select kafka_partition, next_offset from projection_offset where topic = $1
