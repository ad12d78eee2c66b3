#!/usr/bin/env bash
# checksums.sh [-n RUNS] [-s SCALE] [BINDIR]: scan-pages --checksums beside the real pg_checksums.
#
# Builds a cluster with pgbench (scale 150: more than 2 GB of pages), stops it, warms the page cache, and runs
# in turn: pg_checksums --check, pgforensic with two threads and with one, and the same reads without any work
# (tests/bench/read_floor.rs) with two threads and with one. Prints medians of wall and CPU time (user+sys) and
# the ratios that the bars are set in. Then the same with one page in a hundred damaged.
#
# BINDIR holds the server's programs; otherwise the newest one in PGFORENSIC_PG_BINDIRS (colon-separated) or
# /usr/lib/postgresql. As root the server runs as the user postgres. PGFORENSIC_BENCH_DIR keeps the cluster.
set -euo pipefail
cd "$(dirname "$0")/../.."

runs=11 scale=150
while getopts n:s: option; do
    case $option in n) runs=$OPTARG ;; s) scale=$OPTARG ;; *) exit 2 ;; esac
done
shift $((OPTIND - 1))

newest() {
    local best=0 dir major
    for dir in ${PGFORENSIC_PG_BINDIRS//:/ } /usr/lib/postgresql/*/bin; do
        [ -x "$dir/pg_checksums" ] || continue
        major=$("$dir/pg_checksums" --version | sed 's/.* \([0-9]*\).*/\1/')
        if [ "$major" -gt "$best" ]; then best=$major; bin=$dir; fi
    done
}
bin=${1:-}
[ -n "$bin" ] || newest
[ -n "$bin" ] || { echo "no pg_checksums found" >&2; exit 2; }

as_pg() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

cargo build --release --quiet
floor=$(cargo bench --bench read_floor --no-run --message-format=json --quiet |
    sed -n 's/.*"executable":"\([^"]*read_floor[^"]*\)".*/\1/p' | tail -n 1)
ours=${CARGO_TARGET_DIR:-target}/release/pgforensic

work=${PGFORENSIC_BENCH_DIR:-}
if [ -z "$work" ]; then
    work=$(mktemp -d /tmp/pgfbench.XXXXXX)
    trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"
[ "$(id -u)" != 0 ] || chown postgres "$work"
if [ ! -f "$work/data/PG_VERSION" ]; then
    as_pg "$bin/initdb" -D "$work/data" --data-checksums -U postgres -A trust -N >/dev/null
    as_pg "$bin/pg_ctl" -D "$work/data" -w -l "$work/log" start \
        -o "-c listen_addresses='' -k $work -c max_wal_size=8GB -c fsync=off" >/dev/null </dev/null
    as_pg "$bin/pgbench" -h "$work" -U postgres -i -s "$scale" -q postgres >/dev/null 2>&1
    as_pg "$bin/pg_ctl" -D "$work/data" -w -m fast stop >/dev/null
fi
data=$work/data

# Seconds of wall time and of CPU time of a command, into two columns of $work/$1.
measure() {
    local name=$1 times
    shift
    TIMEFORMAT='%R %U %S'
    times=$({ time "$@" >/dev/null 2>&1 || true; } 2>&1)
    awk '{ print $1, $2 + $3 }' <<<"$times" >>"$work/$name.times"
}
median() { # FILE COLUMN
    awk -v c="$2" '{ print $c }' "$work/$1.times" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

compare() {
    rm -f "$work"/*.times
    for ((i = 0; i < runs; i++)); do
        measure pg_checksums "$bin/pg_checksums" --check -D "$data"
        measure ours2 "$ours" scan-pages "$data" --checksums --jobs 2
        measure ours1 "$ours" scan-pages "$data" --checksums --jobs 1
        measure floor2 "$floor" "$data/base" 2
        measure floor1 "$floor" "$data/base" 1
    done
    printf '%-32s %10s %10s\n' "$1, medians of $runs" 'wall (s)' 'CPU (s)'
    for name in pg_checksums ours2 ours1 floor2 floor1; do
        printf '%-32s %10s %10s\n' "$name" "$(median $name 1)" "$(median $name 2)"
    done
    echo "CPU of ours / pg_checksums:      $(ratio "$(median ours2 2)" "$(median pg_checksums 2)") with 2 threads," \
        "$(ratio "$(median ours1 2)" "$(median pg_checksums 2)") with 1"
    echo "wall of ours / pg_checksums:     $(ratio "$(median ours2 1)" "$(median pg_checksums 1)") with 2 threads," \
        "$(ratio "$(median ours1 1)" "$(median pg_checksums 1)") with 1"
    echo "wall of ours / only reading:     $(ratio "$(median ours2 1)" "$(median floor2 1)") with 2 threads," \
        "$(ratio "$(median ours1 1)" "$(median floor1 1)") with 1"
    echo "CPU of ours / only reading:      $(ratio "$(median ours2 2)" "$(median floor2 2)") with 2 threads," \
        "$(ratio "$(median ours1 2)" "$(median floor1 2)") with 1"
    echo
}

# Largest resident memory of a run, in kB.
memory() { # ARGUMENT...
    perl -e 'my $pid = fork; if (!$pid) { open STDOUT, ">", "/dev/null"; exec @ARGV }
        my $peak = 0;
        while (kill(0, $pid) && !waitpid($pid, 1)) {
            open my $f, "<", "/proc/$pid/status" or last;
            while (<$f>) { $peak = $1 if /^VmHWM:\s*(\d+)/ && $1 > $peak }
        }
        print $peak' "$ours" "$@"
}

"$bin/pg_checksums" --version
# Out of the page cache and in again, so that both start from the cache as sequential reading fills it,
# not as the server's own writes have left it.
find "$data/base" "$data/global" -type f -exec sh -c \
    'for f; do dd of="$f" oflag=nocache conv=notrunc,fdatasync count=0 status=none; done' sh {} +
find "$data/base" "$data/global" -type f -exec cat {} + >/dev/null
du -sh --apparent-size "$data/base" | sed 's/\t.*/ in base/'
{ "$ours" scan-pages "$data" --checksums || true; } | sed -n '1p'
compare "sound cluster"
echo "VmHWM of a scan: $(memory scan-pages "$data" --checksums --jobs 2) kB, of --version: $(memory --version) kB"
echo

# Four bits in every hundredth page of the larger files; doing it again undoes it.
flip() {
    find "$data/base" -type f -regex '.*/[0-9]+\(\.[0-9]+\)?' -size +800k -print0 | sort -z |
        while IFS= read -r -d '' file; do
            perl -e 'open F, "+<", $ARGV[0] or die; my $n = (-s F) / 8192;
                for (my $b = 7; $b < $n; $b += 100) { seek F, $b * 8192 + 4096, 0; read F, my $c, 1;
                    seek F, $b * 8192 + 4096, 0; print F chr(ord($c) ^ 0x5A); }' "$file"
        done
}
trap 'flip; [ -n "${PGFORENSIC_BENCH_DIR:-}" ] || rm -rf "$work"' EXIT
flip
{ "$ours" scan-pages "$data" --checksums || true; } | sed -n '1p'
compare "one page in 100 bad"
echo "VmHWM of a scan: $(memory scan-pages "$data" --checksums --jobs 2) kB"
echo "lines printed:   $({ "$ours" scan-pages "$data" --checksums || true; } | wc -l)"
