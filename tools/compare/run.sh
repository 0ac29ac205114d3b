#!/usr/bin/env bash
# Counts the same events of a Kafka topic with a plain consumer, with Kafka Streams and with Streamgauge, one after
# another, and prints their ratios. Usage: run.sh PATH_OF_STREAMGAUGE|- [ROUNDS]     (see README.md; EVENTS
# and CONTROLS may be set; with - the others run alone)
set -euo pipefail

readonly STREAMGAUGE=${1:?usage: run.sh PATH_OF_STREAMGAUGE|- [ROUNDS]}
readonly ROUNDS=${2:-3}
readonly EVENTS=${EVENTS:-5000000}
readonly HERE=$(cd "$(dirname "$0")" && pwd)
readonly TOOLS=$HERE/..
readonly PARTITIONS=6
readonly STEP_SECONDS=600
readonly STOP_SECONDS=20
[[ $STREAMGAUGE == - || -x $STREAMGAUGE ]] || { echo "$STREAMGAUGE is missing: build it first" >&2; exit 2; }

"$TOOLS/need" cargo javac mvn
if [[ -z ${CONTROLS:-} ]]; then
    cargo build --release --quiet --manifest-path "$TOOLS/controls/Cargo.toml"
    CONTROLS=${CARGO_TARGET_DIR:-$TOOLS/controls/target}/release
fi
readonly CONTROLS
mvn -q -B -f "$HERE/kafka-streams/pom.xml" compile dependency:copy-dependencies -DoutputDirectory=target/libs
JARS=$("$TOOLS/services" jars)
readonly JARS

WORK=$(mktemp -d)
readonly WORK RESULTS=$WORK/results.tsv
# The server that runs, or the step.
running=

stop_running() {
    [[ -n $running ]] || return 0
    local pid=$running
    running=
    kill -TERM "$pid" 2>/dev/null || true
    for ((tenth = 0; tenth < STOP_SECONDS * 10; tenth++)); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

clean_up() {
    stop_running
    [[ ! -e $WORK/servers/env ]] || "$TOOLS/services" end "$WORK/servers"
    rm -rf "$WORK"
}
trap clean_up EXIT
trap 'exit 130' INT TERM
# Postgres may be another user.
chmod a+x "$WORK"

"$TOOLS/services" start "$WORK/servers" kafka postgres >&2
# shellcheck source=/dev/null
source "$WORK/servers/env"
readonly BROKERS=${STREAMGAUGE_TEST_KAFKA:?Kafka is needed} POSTGRES=${STREAMGAUGE_TEST_POSTGRES:?Postgres is needed}

topics() {
    java -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$JARS/*" org.apache.kafka.tools.TopicCommand \
        --bootstrap-server "$BROKERS" "$@" >/dev/null
}

# Prints one number of a line of JSON.
figure() {
    sed -nE "s/.*\"$1\":([0-9.]+).*/\1/p" <<<"$2"
}

# A line of results, and one for whoever watches: name, events/s, events per CPU second, MiB, events counted.
result() {
    printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$RESULTS"
    printf 'round %s  %-52s %9s events/s  %9s per CPU s  %5s MiB  %9s counted\n' "$round" "$@" >&2
}

# Runs a program that prints its figures as JSON; $1 is its name in the table.
measure() {
    local line
    # In the background, so that a signal is answered at once.
    "${@:2}" >"$WORK/line" &
    running=$!
    wait "$running"
    running=
    line=$(cat "$WORK/line")
    result "$1" "$(figure records_per_s "$line")" "$(figure records_per_cpu_s "$line")" \
        "$(figure memory_mib "$line")" "$(figure counted "$line")"
}

# Quiet: it would say a line about each record that it drops, and those may be millions.
kafka_streams() {
    measure "Kafka Streams, $1" java -Xmx1g "-Djava.io.tmpdir=$WORK" -Dorg.slf4j.simpleLogger.defaultLogLevel=error \
        -cp "$HERE/kafka-streams/target/classes:$HERE/kafka-streams/target/libs/*" \
        CountByMinute --brokers "$BROKERS" --topic events "${@:2}"
    rm -rf "$WORK"/kafka-streams*
    topics --delete --topic 'count-.*'
}

# Prints the time in seconds.
now() {
    date +%s.%N
}

cpu_seconds() {
    sed -E 's/^.*\) //' "/proc/$running/stat" | awk -v ticks="$(getconf CLK_TCK)" '{ print ($12 + $13) / ticks }'
}

# Prints how many events have met their fate.
processed() {
    curl -sf "http://127.0.0.1:$port/metrics" |
        awk '/^streamgauge_events_processed_total\{/ { sum += $NF } END { printf "%d\n", sum }'
}

# Waits until a command's number reaches $1.
until_reaches() {
    local end=$((SECONDS + STEP_SECONDS))
    until (($("${@:2}") >= $1)); do
        ((SECONDS < end)) && kill -0 "$running" 2>/dev/null || { cat "$WORK/streamgauge.log" >&2; exit 1; }
        sleep 0.02
    done
}

port_of_ready() {
    sed -nE 's/^.* ready on http:\/\/[^ ]*:([0-9]+).*$/\1/p' "$WORK/streamgauge.log" | head -n 1 | grep . || echo 0
}

# Its clock begins when it is ready and ends when a flush of everything is answered; counted is what the database says.
streamgauge() {
    local database=${POSTGRES%/*}/round_$round start cpu seconds
    psql -q "$POSTGRES" -c "create database round_$round"
    cat >"$WORK/streamgauge.toml" <<CONFIG
log = "kafka://$BROKERS"
store = "$database"
archive = "off"

[[stream]]
name = "events"
topic = "events"
default_type = ""
derive_id = false
partition_by = ["key"]
require = []
raw_table = "off"
dedup = { records = 500_000, horizon = "24h" }

[[rollup]]
name = "by_key"
stream = "events"
window = "1m"
grace = "30s"
late = "correct"
by = ["key"]
  [[rollup.measure]]
  name = "events"
  fn = "count"
CONFIG
    : >"$WORK/streamgauge.log"
    env -i PATH="$PATH" HOME="$WORK" "$STREAMGAUGE" serve --config "$WORK/streamgauge.toml" --data-dir "$WORK/data" \
        --listen 127.0.0.1:0 >>"$WORK/streamgauge.log" 2>&1 &
    running=$!
    until_reaches 1 port_of_ready
    port=$(port_of_ready)
    start=$(now) cpu=$(cpu_seconds)
    until_reaches "$EVENTS" processed
    curl -sf -o "$WORK/flush" -X POST "http://127.0.0.1:$port/v1/flush"
    seconds=$(awk -v start="$start" -v end="$(now)" 'BEGIN { print end - start }')
    cpu=$(awk -v start="$cpu" -v end="$(cpu_seconds)" 'BEGIN { print end - start }')
    result Streamgauge "$(awk -v n="$EVENTS" -v s="$seconds" 'BEGIN { printf "%d", n / s }')" \
        "$(awk -v n="$EVENTS" -v s="$cpu" 'BEGIN { printf "%d", n / s }')" \
        "$(awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$running/status")" \
        "$(psql -At "$database" -c 'select sum(events) from by_key')"
    stop_running
    rm -rf "$WORK/data"
}

topics --create --topic events --partitions "$PARTITIONS" --config message.timestamp.type=LogAppendTime
"$CONTROLS/fill" --brokers "$BROKERS" --topic events --events "$EVENTS" >&2

for ((round = 1; round <= ROUNDS; round++)); do
    measure "consume" "$CONTROLS/consume" --brokers "$BROKERS" --topic events
    measure "consume --parse" "$CONTROLS/consume" --brokers "$BROKERS" --topic events --parse
    kafka_streams "at least once"
    kafka_streams "exactly once" --guarantee exactly_once_v2
    kafka_streams "at least once, keyed anew" --key event
    kafka_streams "exactly once, keyed anew" --guarantee exactly_once_v2 --key event
    kafka_streams "exactly once, keyed anew, grace 1 h" --guarantee exactly_once_v2 --key event --grace 3600
    [[ $STREAMGAUGE == - ]] || streamgauge
done

# Medians of the rounds, and Streamgauge's as a multiple of each program's.
awk -F '\t' -v events="$EVENTS" '
    function median(name, column,    count, values, list, at, other, swap) {
        count = split(runs[name, column], list, " ")
        for (at = 1; at <= count; at++)
            for (other = at + 1; other <= count; other++)
                if (list[other] + 0 < list[at] + 0) { swap = list[at]; list[at] = list[other]; list[other] = swap }
        return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
    }
    function multiple(name, column) {
        return ("Streamgauge" in seen) ? sprintf("%.2f", median("Streamgauge", column) / median(name, column)) : "-"
    }
    {
        if (!($1 in seen)) { seen[$1] = 1; names[++count] = $1 }
        for (column = 2; column <= 5; column++) runs[$1, column] = runs[$1, column] " " $column
    }
    END {
        print "| program | events/s | Streamgauge is | events per CPU second | Streamgauge is | memory MiB | not counted |"
        print "|---|---:|---:|---:|---:|---:|---:|"
        for (at = 1; at <= count; at++) {
            name = names[at]
            lost = runs[name, 5] ~ /[0-9]/ ? sprintf("%.1f %%", 100 * (1 - median(name, 5) / events)) : "-"
            printf "| %s | %d | **%s** | %d | **%s** | %d | %s |\n", name, median(name, 2), multiple(name, 2),
                median(name, 3), multiple(name, 3), median(name, 4), lost
        }
        print "Medians. CPU and memory are those of the program alone, without the broker or the database."
    }' "$RESULTS"
