#!/bin/sh
# A served store against Redis, in turns on one machine: get and asynchronous put pipelined, and
# durable put. Prints one table of ratios; above 1 the served store is faster.
#
#   benches/redis.sh [SYNCLINE]        the program, built with --release [target/release/syncline]
#
#   ROUNDS=5 SECONDS_EACH=2            how thoroughly
#   KEYS=100000 VALUE_BYTES=150        what there is; keys have 24 bytes on both sides
#   DIR=.                              where both have their files: one file system
#   REDIS_OPTIONS='--io-threads 2'     more for redis-server
#
# - Each side has the load generator that is its fastest: redis-benchmark, with one thread and with
#   two, of which the better counts in each round; and the lean load of `bench server`.
# - What is compared promises the same: `appendfsync no` survives a kill of the process, as mode
#   `Async` does; `appendfsync always` a power loss, as mode `Sync`.
# - A ratio is taken in each round; the table has the median and the ends.
set -eu

syncline=${1:-target/release/syncline}
rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-2}
keys=${KEYS:-100000} value_bytes=${VALUE_BYTES:-150}

for tool in redis-server redis-benchmark redis-cli; do
    if ! command -v $tool >/dev/null; then
        echo "redis.sh: $tool is not installed (Debian: apt-get install redis-server redis-tools)" >&2
        exit 2
    fi
done
if ! [ -x "$syncline" ]; then
    echo "redis.sh: no program $syncline: cargo build --release --features cli" >&2
    exit 2
fi

dir=$(mktemp -d "${DIR:-.}/redis-XXXXXX")
dir=$(cd "$dir" && pwd)
servers=
finish() {
    for server in $servers; do kill "$server" 2>/dev/null || true; done
    for server in $servers; do wait "$server" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

# start NAME APPENDFSYNC: a Redis on a socket of its own, and on a port for redis-benchmark.
start() {
    mkdir "$dir/$1"
    # shellcheck disable=SC2086 # options are words
    redis-server --port "$3" --bind 127.0.0.1 --dir "$dir/$1" --save '' --appendonly yes \
        --appendfsync "$2" --daemonize no --logfile "$dir/$1/log" ${REDIS_OPTIONS:-} &
    servers="$servers $!"
    tries=0
    until redis-cli -p "$3" ping >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ $tries -gt 100 ]; then
            echo "redis.sh: redis-server does not start: $(tail -1 "$dir/$1/log")" >&2
            exit 2
        fi
        sleep 0.1
    done
}

value=$(head -c "$value_bytes" /dev/zero | tr '\0' x)
key=bench-key-24__rand_int__

# ask PORT CLIENTS PIPELINE REQUESTS COMMAND...: requests per second, with the better of one thread
# and two.
ask() {
    port=$1 clients=$2 pipeline=$3 requests=$4
    shift 4
    for threads in '' '--threads 2'; do
        # shellcheck disable=SC2086 # an option and its value
        redis-benchmark -p "$port" -c "$clients" -P "$pipeline" -n "$requests" -r "$keys" $threads \
            --csv "$@" | tail -1 | cut -d, -f2 | tr -d '"'
    done | sort -n | tail -1
}

# enough RATE: how many requests take about the time of one measurement.
enough() {
    awk -v rate="$1" -v seconds="$seconds" 'BEGIN { printf "%d", rate * seconds + 1 }'
}

# lean MODE CONNECTIONS FILE: operations per second from the table of `bench server`.
lean() {
    sed -n "s/^  lean  *$1  *$2  *\([0-9][0-9.]*\) .*/\1/p" "$3" | head -1
}

base=$((20000 + $$ % 20000))
start lazy no $base
start strict always $((base + 1))
echo "filling Redis" >&2
ask $base 50 16 $((10 * keys)) SET "$key" "$value" >/dev/null
get=$(ask $base 50 16 "$keys" GET "$key")
async=$(ask $base 50 16 "$keys" SET "$key" "$value")
sync=$(ask $((base + 1)) 64 1 2000 SET "$key" "$value")

round=1
while [ $round -le "$rounds" ]; do
    echo "round $round of $rounds" >&2
    run="--load lean --seconds $seconds --rounds 1 --keys $keys --value-bytes $value_bytes"
    # shellcheck disable=SC2086 # options and their values
    {
        "$syncline" bench server "$dir" $run --connections 50 --in-flight 16 >"$dir/pipelined" \
            2>"$dir/err" || { cat "$dir/err" >&2; exit 2; }
        get=$(ask $base 50 16 "$(enough "$get")" GET "$key")
        async=$(ask $base 50 16 "$(enough "$async")" SET "$key" "$value")
        sync=$(ask $((base + 1)) 64 1 "$(enough "$sync")" SET "$key" "$value")
        "$syncline" bench server "$dir" $run --connections 64 --in-flight 1 >"$dir/single" \
            2>"$dir/err" || { cat "$dir/err" >&2; exit 2; }
    }
    {
        echo "1 $get $(lean get 50 "$dir/pipelined")"
        echo "2 $async $(lean 'async put' 50 "$dir/pipelined")"
        echo "3 $sync $(lean 'sync put' 64 "$dir/single")"
    } >>"$dir/found"
    round=$((round + 1))
done

redis-server --version | sed 's/ sha=.*//'
"$syncline" --version
echo "$(nproc) processors, $keys keys of 24 bytes, values of $value_bytes, $rounds rounds in turns"
echo
awk -v rounds="$rounds" '
    function median(list, n,    i, j, swap) {
        for (i = 2; i <= n; i++)
            for (j = i; j > 1 && list[j] < list[j - 1]; j--) {
                swap = list[j]; list[j] = list[j - 1]; list[j - 1] = swap
            }
        return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
    }
    { n[$1]++; theirs[$1, n[$1]] = $2; ours[$1, n[$1]] = $3 }
    END {
        what[1] = "get, 50 connections x 16 in flight"
        what[2] = "async put, 50 x 16 (appendfsync no)"
        what[3] = "sync put, 64 clients (appendfsync always)"
        printf "%-44s%12s%12s%8s  %s\n", "", "Redis /s", "Syncline /s", "ratio", "rounds"
        for (w = 1; w <= 3; w++) {
            for (i = 1; i <= n[w]; i++) {
                a[i] = theirs[w, i]; b[i] = ours[w, i]; r[i] = ours[w, i] / theirs[w, i]
            }
            redis = median(a, n[w]); own = median(b, n[w]); ratio = median(r, n[w])
            printf "%-44s%12d%12d%8.2f  %.2f to %.2f\n", what[w], redis, own, ratio, r[1], r[n[w]]
        }
    }' "$dir/found"
