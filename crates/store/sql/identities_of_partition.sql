select identity from events where sequence >= $1 and sequence < $2
