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

. tests/bench/common.sh
bin=${1:-$(newest pg_checksums)}
[ -n "$bin" ] || { echo "no pg_checksums found" >&2; exit 2; }

cargo build --release --quiet
floor=$(cargo bench --bench read_floor --no-run --message-format=json --quiet |
    sed -n 's/.*"executable":"\([^"]*read_floor[^"]*\)".*/\1/p' | tail -n 1)
ours=${CARGO_TARGET_DIR:-target}/release/pgforensic

make_cluster "$bin" "$scale"

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

"$bin/pg_checksums" --version
settle_cache
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
