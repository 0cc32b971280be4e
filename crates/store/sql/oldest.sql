select sequence from events order by sequence limit 1
