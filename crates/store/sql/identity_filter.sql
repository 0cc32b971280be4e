select filter from identity_filter where partition_number = $1 and format = $2
