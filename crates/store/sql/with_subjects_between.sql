select event, subject from events where sequence > $1 and sequence <= $2 order by sequence nulls first limit $3
