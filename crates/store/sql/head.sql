select last, registered, timeline, partition_size, partition_opened from feed_head
