#!/usr/bin/env bash
# Runs Streamgauge alone for longer: raw rows to ten million, a restart over them, and the time from 202 to visible.
# Usage: endure.sh PATH_OF_STREAMGAUGE [MILLIONS]     (see README.md; CONTROLS may be set)
set -euo pipefail

STREAMGAUGE=$(realpath "${1:?usage: endure.sh PATH_OF_STREAMGAUGE [MILLIONS]}")
readonly STREAMGAUGE
readonly MILLIONS=${2:-10}
readonly HERE=$(cd "$(dirname "$0")" && pwd)
readonly PROBES=200
if [[ -z ${CONTROLS:-} ]]; then
    cargo build --release --quiet --manifest-path "$HERE/Cargo.toml"
    CONTROLS=${CARGO_TARGET_DIR:-$HERE/target}/release
fi
readonly CONTROLS
WORK=$(mktemp -d)
readonly WORK
server=
load=

clean_up() {
    [[ -z $load ]] || kill -TERM "$load" 2>/dev/null || true
    [[ -z $server ]] || kill -TERM "$server" 2>/dev/null || true
    wait || true
    rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# Starts the server on the data of before, and says how long it took to be ready.
start() {
    local begun
    begun=$(now_ms)
    (cd "$WORK" && exec "$STREAMGAUGE" serve --data-dir data --listen 127.0.0.1:0 >"$WORK/out" 2>"$WORK/err") &
    server=$!
    until url=$(sed -n 's/^streamgauge ready on \(http[^ ]*\).*/\1/p' "$WORK/out" 2>/dev/null) && [[ -n $url ]]; do
        kill -0 "$server" || { cat "$WORK/err" >&2; exit 1; }
        sleep 0.005
    done
    echo "ready after $(($(now_ms) - begun)) ms"
}

stop() {
    kill -TERM "$server"
    wait "$server" || true
    server=
}

processed() { curl -sf "$url/metrics" | sed -n 's/^streamgauge_events_processed_total{stream="events".*fate="counted"} //p'; }

start
"$CONTROLS/blast" --port "${url##*:}" --connections 8 --batch 1000 --seconds 600 --path /v1/events >"$WORK/blast" &
load=$!
begun=$(now_ms)
for ((million = 1; million <= MILLIONS; million++)); do
    until count=$(processed) && ((${count:-0} >= million * 1000000)); do sleep 0.02; done
    ended=$(now_ms)
    echo "million $million: $((1000000 * 1000 / (ended - begun + 1))) rows/s, $(sed -n 's/^VmHWM:[ \t]*//p' "/proc/$server/status") at most"
    begun=$ended
done
kill -TERM "$load" && wait "$load" || true
load=
stop
start
stop
start

"$STREAMGAUGE" load --url "$url" --rate 50000 --connections 8 --batch 500 --duration 60s >"$WORK/load" 2>&1 &
load=$!
sleep 2
for ((probe = 0; probe < PROBES; probe++)); do
    kind=probe_$probe
    curl -sf "$url/v1/events" -d "{\"event_type\":\"$kind\"}" >/dev/null
    begun=$(now_ms)
    until curl -sf "$url/v1/rollups/hourly_aggregations?event_type=$kind" | grep -q '"event_count":1'; do :; done
    echo $(($(now_ms) - begun))
done | sort -n >"$WORK/visible"
echo "visible after 202, at 50,000 events/s: p50 $(sed -n "$((PROBES / 2))p" "$WORK/visible") ms, p99 $(sed -n "$((PROBES * 99 / 100))p" "$WORK/visible") ms"
wait "$load" || true
load=
cat "$WORK/load"
stop
