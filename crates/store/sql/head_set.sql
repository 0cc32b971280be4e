update feed_head set last = $1::bigint, registered = $2, timeline = $3,
    partition_opened = case
        when ($1::bigint + 1) / partition_size > (last + 1) / partition_size then $2
        else partition_opened
    end
