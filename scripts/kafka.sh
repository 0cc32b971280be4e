#!/bin/sh
# Kafka's own tools against the broker of `make run`, or the one that KAFKA_BROKERS names.
#   scripts/kafka.sh topics --list      scripts/kafka.sh groups --describe --all-groups      scripts/kafka.sh read --topic events
set -eu
usage() { sed -n '2,3s/^# *//p' "$0" >&2; exit 64; }

[ $# -gt 0 ] || usage
case $1 in
topics) tool=org.apache.kafka.tools.TopicCommand ;;
groups) tool=org.apache.kafka.tools.consumer.group.ConsumerGroupCommand ;;
read) tool=org.apache.kafka.tools.consumer.ConsoleConsumer ;;
offsets) tool=org.apache.kafka.tools.GetOffsetShell ;;
*) usage ;;
esac
shift

ports=$(dirname "$0")/../.local/ports
if [ -z "${KAFKA_BROKERS:-}" ]; then
    [ -f "$ports" ] || { echo "No broker of \`make run\` here; start it, or set KAFKA_BROKERS." >&2; exit 1; }
    KAFKA_BROKERS=127.0.0.1:$(sed -n 's/^kafka //p' "$ports")
fi
for cache in "${XDG_CACHE_HOME:-$HOME/.cache}" /var/cache; do
    for libs in "$cache"/altinn-events/*/libs; do
        [ -n "$(ls "$libs"/kafka-tools-[0-9]*.jar 2>/dev/null)" ] && exec java -cp "$libs/*" "$tool" --bootstrap-server "$KAFKA_BROKERS" "$@"
    done
done
echo "Kafka's jars are not here; \`make run\` fetches them." >&2
exit 1
