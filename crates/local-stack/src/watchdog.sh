# Runs "$@" and ends it when standard input ends, which is when the process that started us is gone, however it went.
# Arguments: pid file, folder to remove at the end (or nothing), command. A line on standard input is a signal to send, or `keep`.
pid_file=$1 remove=$2
shift 2
exec 3<&0
"$@" 3<&- </dev/null &
child=$!
echo "$child" >"$pid_file"
runs() { [ "$(cat "$pid_file" 2>/dev/null)" = "$child" ]; }
(
    exec >/dev/null 2>&1
    while read -r word; do
        case $word in
        keep) remove= ;;
        *) runs && kill -s "$word" "$child" ;;
        esac
    done <&3
    runs && kill -s KILL "$child"
    if [ -n "$remove" ]; then
        while runs; do sleep 1; done
        rm -rf "$remove"
    fi
) &
exec 3<&-
wait "$child"
code=$?
runs && rm -f "$pid_file"
exit "$code"
