#!/usr/bin/env bash
# Runs the controls and Streamgauge in turn under the same load and prints their ratios.
# Usage: compare.sh PATH_OF_STREAMGAUGE [ROUNDS]     (see README.md; CONTROLS, SECONDS_PER_RUN and SEGMENTS may be set)
set -euo pipefail

readonly STREAMGAUGE=${1:?usage: compare.sh PATH_OF_STREAMGAUGE [ROUNDS]}
readonly ROUNDS=${2:-3}
readonly SECONDS_PER_RUN=${SECONDS_PER_RUN:-8}
readonly SEGMENTS=${SEGMENTS:-fresh}
readonly HERE=$(cd "$(dirname "$0")" && pwd)
if [[ -z ${CONTROLS:-} ]]; then
    cargo build --release --quiet --manifest-path "$HERE/Cargo.toml"
    CONTROLS=${CARGO_TARGET_DIR:-$HERE/target}/release
fi
readonly CONTROLS
readonly READY_SECONDS=30
readonly STOP_SECONDS=20

for program in "$STREAMGAUGE" "$CONTROLS"/{bare,durable,parse-once,blast}; do
    [[ -x $program ]] || { echo "$program is missing: build it first" >&2; exit 2; }
done

WORK=$(mktemp -d)
readonly WORK RESULTS=$WORK/results.tsv
server=
load=

# Ends the server by its own id; one that does not leave in time is killed.
stop_server() {
    [[ -n $server ]] || return 0
    local pid=$server
    server=
    kill -TERM "$pid" 2>/dev/null || true
    for ((tenth = 0; tenth < STOP_SECONDS * 10; tenth++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

clean_up() {
    [[ -z $load ]] || kill -TERM "$load" 2>/dev/null || true
    stop_server
    rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

cat >"$WORK/streamgauge.toml" <<'CONFIG'
log = "embedded:"
store = "sqlite:"
archive = "off"

[[stream]]
name = "events"
topic = "events"
paths = ["/events"]
default_type = ""
derive_id = false
partition_by = ["user_id"]
require = []
raw_table = "off"
dedup = { records = 5_000_000, horizon = "24h" }

[[rollup]]
name = "by_kind"
stream = "events"
window = "1m"
grace = "30s"
late = "correct"
by = ["event_type"]
  [[rollup.measure]]
  name = "events"
  fn = "count"

[[rollup]]
name = "by_postcode"
stream = "events"
window = "1m"
grace = "30s"
late = "correct"
by = ["postcode"]
  [[rollup.measure]]
  name = "events"
  fn = "count"
CONFIG

# Starts a server on a fresh folder; sets server and port.
start_server() {
    local name=$1 data=$2
    local output=$data/output
    mkdir "$data"
    # Made here: the server's shell may be slower than the first look at it.
    : >"$output"
    # What the run before left to be written must not slow this one.
    sync -f "$data"
    case $name in
        streamgauge)
            env -i PATH="$PATH" HOME="$data" "$STREAMGAUGE" serve --data-dir "$data/data" --listen 127.0.0.1:0 \
                --config "$WORK/streamgauge.toml" >>"$output" 2>&1 & ;;
        bare) "$CONTROLS/bare" >>"$output" 2>&1 & ;;
        *) "$CONTROLS/$name" --data-dir "$data" --segments "$SEGMENTS" >>"$output" 2>&1 & ;;
    esac
    server=$!
    for ((tenth = 0; tenth < READY_SECONDS * 10; tenth++)); do
        port=$(sed -nE 's/^.* ready on http:\/\/[^ ]*:([0-9]+).*$/\1/p' "$output" | head -n 1)
        [[ -z $port ]] || return 0
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    echo "$name did not become ready:" >&2
    cat "$output" >&2
    exit 1
}

# Prints one number of blast's line of JSON.
figure() {
    sed -nE "s/.*\"$1\":([0-9.]+).*/\1/p" <<<"$2"
}

# Prints the CPU ticks that the server has used.
cpu_ticks() {
    sed -E 's/^.*\) //' "/proc/$server/stat" | awk '{ print $12 + $13 }'
}

# One run of one server: a line of results, and one for whoever watches.
measure() {
    local kind=$1 name=$2 connections=$3 batch=$4 round=$5
    start_server "$name" "$WORK/data"
    local line ticks before after drain=-
    ticks=$(cpu_ticks)
    # In the background, so that a signal is answered at once and not after the load.
    "$CONTROLS/blast" --port "$port" --connections "$connections" --batch "$batch" --seconds "$SECONDS_PER_RUN" \
        >"$WORK/line" &
    load=$!
    wait "$load"
    load=
    line=$(cat "$WORK/line")
    before=$(date +%s%N)
    # What is behind the answers counts too: how long until all of it is in the database.
    if [[ $name == streamgauge || $name == parse-once ]] &&
        curl -fsS -o "$WORK/flush" --max-time 120 -X POST "http://127.0.0.1:$port/v1/flush" 2>/dev/null; then
        after=$(date +%s%N)
        drain=$(((after - before) / 1000000))
    fi
    ticks=$(($(cpu_ticks) - ticks))
    local memory
    memory=$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$server/status")
    stop_server
    rm -rf "$WORK/data"
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$kind" "$name" "$(figure events_per_s "$line")" \
        "$(figure p50_us "$line")" "$(figure p99_us "$line")" "$(figure p999_us "$line")" \
        "$(figure bad "$line")" "$memory" "$ticks" >>"$RESULTS"
    printf 'round %s  %-11s %-11s %9s events/s  p50 %6s  p99 %6s  p99.9 %6s us  bad %s  %5s MiB  %5s CPU ms  drained in %s ms\n' \
        "$round" "$kind" "$name" "$(figure events_per_s "$line")" "$(figure p50_us "$line")" "$(figure p99_us "$line")" \
        "$(figure p999_us "$line")" "$(figure bad "$line")" "$memory" "$((ticks * 1000 / $(getconf CLK_TCK)))" "$drain" >&2
}

# The first run after a pause is slower than any other, whoever runs; its kind is in no row of the table.
measure warm-up parse-once 8 1000 0

for ((round = 1; round <= ROUNDS; round++)); do
    # In turn, and every second round backwards: neither side always has the warmer or the more worn machine.
    if ((round % 2)); then
        many=(parse-once streamgauge) single=(bare durable streamgauge)
    else
        many=(streamgauge parse-once) single=(streamgauge durable bare)
    fi
    for name in "${many[@]}"; do
        measure ndjson-1000 "$name" 8 1000 "$round"
    done
    for name in "${single[@]}"; do
        measure single "$name" 64 1 "$round"
    done
done

# Medians of the rounds, and Streamgauge's as a share of each control's.
awk -F '\t' '
    function median(key, column,    count, values, list, at, other, swap) {
        count = split(runs[key, column], list, " ")
        for (at = 1; at <= count; at++)
            for (other = at + 1; other <= count; other++)
                if (list[other] + 0 < list[at] + 0) { swap = list[at]; list[at] = list[other]; list[other] = swap }
        return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
    }
    function row(load, control,    key, own, column) {
        key = load SUBSEP control; own = load SUBSEP "streamgauge"
        if (median(key, 3) == 0) return
        printf "| %s | %s | %d | %d | **%.2f** | %d / %d | %d / %d | %d / %d | %d / %d |\n", load, control,
            median(key, 3), median(own, 3), median(own, 3) / median(key, 3), median(key, 4), median(own, 4),
            median(key, 5), median(own, 5), median(key, 8), median(own, 8), bad[key], bad[own]
    }
    {
        key = $1 SUBSEP $2
        for (column = 3; column <= 8; column++) runs[key, column] = runs[key, column] " " $column
        bad[key] += $7
    }
    END {
        print "| load | control | its events/s | Streamgauge events/s | ratio | p50 us | p99 us | memory MiB | bad requests |"
        print "|---|---|---:|---:|---:|---:|---:|---:|---:|"
        row("ndjson-1000", "parse-once"); row("single", "bare"); row("single", "durable")
        print "Medians; pairs are control / Streamgauge. Memory is the peak of the resident set."
    }' "$RESULTS"
