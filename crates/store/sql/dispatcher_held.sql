select min(position) from dispatcher where seen > clock_timestamp() - $1::bigint * interval '1 millisecond'
