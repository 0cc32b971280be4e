select sequence from events order by sequence nulls first limit 1
