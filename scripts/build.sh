#!/bin/sh
# Builds the binary, and nothing that only tests and benchmarks need, and says in plain words how far it is.
set -eu

parts=$(cargo tree --locked -p altinn-events -e normal,build --prefix none | sed 's/ (\*)$//' | sort -u | wc -l)
status=$(mktemp)
trap 'rm -f "$status"' EXIT

echo "Building the platform: at most $parts parts; some minutes the first time, seconds after a change."
{ nice cargo build --locked -p altinn-events 2>&1 || echo $? >"$status"; } | awk -v parts="$parts" '
    $1 == "Compiling" {
        built++
        if (built % 25 == 0) printf "  %d of at most %d parts begun; now %s\n", built, parts, $2
    }
    $1 == "Downloading" && !fetching++ { print "  fetching what is not there yet from the registry of Rust packages" }
    $1 !~ /^(Compiling|Downloading|Downloaded|Updating|Locking|Finished|Blocking)$/ { print }
    { fflush() }'
failed=$(cat "$status")
exit "${failed:-0}"
