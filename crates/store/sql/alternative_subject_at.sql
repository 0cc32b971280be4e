select alternative_subject, event from events where sequence = $1 and resource = $2 and alternative_subject is not null
