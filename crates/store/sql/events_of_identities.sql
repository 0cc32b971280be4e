select found.identity, events.event
from find_identities($1, 0) as found
join events on events.sequence = found.sequence
