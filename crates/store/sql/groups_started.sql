select consumer_group, topic from group_start
