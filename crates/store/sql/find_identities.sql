select identity, sequence, kafka_partition, kafka_offset from find_identities($1, $2)
