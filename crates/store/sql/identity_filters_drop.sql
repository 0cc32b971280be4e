delete from identity_filter where partition_number <> all ($1)
