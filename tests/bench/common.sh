# What the benchmarks share; sourced. As root servers run as the user postgres.

as_pg() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }

# The directory of the newest of a program, in PGFORENSIC_PG_BINDIRS (colon-separated) or /usr/lib/postgresql.
newest() { # PROGRAM
    local best=0 bin='' dir major dirs=${PGFORENSIC_PG_BINDIRS:-}
    for dir in ${dirs//:/ } /usr/lib/postgresql/*/bin; do
        [ -x "$dir/$1" ] || continue
        major=$("$dir/$1" --version | sed 's/.* \([0-9]*\).*/\1/')
        if [ "$major" -gt "$best" ]; then best=$major; bin=$dir; fi
    done
    echo "$bin"
}

# Sets $work: a directory of the server's user, which goes away at the end. PGFORENSIC_BENCH_DIR names one that stays.
make_work() {
    work=${PGFORENSIC_BENCH_DIR:-}
    if [ -z "$work" ]; then
        work=$(mktemp -d /tmp/pgfbench.XXXXXX)
        trap 'rm -rf "$work"' EXIT
    fi
    mkdir -p "$work"
    [ "$(id -u)" != 0 ] || chown postgres "$work"
}

# Sets $work and $data: a cluster filled by pgbench, stopped.
make_cluster() { # BINDIR SCALE
    make_work
    data=$work/data
    [ ! -f "$data/PG_VERSION" ] || return 0
    as_pg "$1/initdb" -D "$data" --data-checksums -U postgres -A trust -N >/dev/null
    start_server "$1"
    as_pg "$1/pgbench" -h "$work" -U postgres -i -s "$2" -q postgres >/dev/null 2>&1
    stop_server "$1"
}

start_server() { # BINDIR
    as_pg "$1/pg_ctl" -D "$data" -w -l "$work/log" start \
        -o "-c listen_addresses='' -k $work -c max_wal_size=8GB -c fsync=off" >/dev/null </dev/null
}

stop_server() { # BINDIR
    as_pg "$1/pg_ctl" -D "$data" -w -m fast stop >/dev/null
}

# Out of the page cache and in again, so that all start from the cache as sequential reading fills it,
# not as the server's own writes have left it.
settle_cache() {
    find "$data/base" "$data/global" -type f -exec sh -c \
        'for f; do dd of="$f" oflag=nocache conv=notrunc,fdatasync count=0 status=none; done' sh {} +
    find "$data/base" "$data/global" -type f -exec cat {} + >/dev/null
}

# Seconds of wall time and of CPU time of a command, into two columns of $work/$1.times.
measure() { # NAME COMMAND...
    local name=$1 times
    shift
    TIMEFORMAT='%R %U %S'
    times=$({ time "$@" >/dev/null 2>&1 || true; } 2>&1)
    awk '{ print $1, $2 + $3 }' <<<"$times" >>"$work/$name.times"
}

median() { # NAME COLUMN
    awk -v c="$2" '{ print $c }' "$work/$1.times" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

# Largest resident memory of a run of $ours, in kB.
memory() { # ARGUMENT...
    perl -e 'my $pid = fork; if (!$pid) { open STDOUT, ">", "/dev/null"; exec @ARGV }
        my $peak = 0;
        while (kill(0, $pid) && !waitpid($pid, 1)) {
            open my $f, "<", "/proc/$pid/status" or last;
            while (<$f>) { $peak = $1 if /^VmHWM:\s*(\d+)/ && $1 > $peak }
        }
        print $peak' "$ours" "$@"
}
