#!/usr/bin/env bash
# waldump.sh: what each major's own pg_waldump prints for the undamaged archive of that major, without and with -b, into
# testdata/wal/dump-NN.txt.zst and blocks-NN.txt.zst (TZ=UTC).
. "$(dirname "$0")/lib.sh"
[ $# = 0 ] || { echo "usage: waldump.sh" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for major in 11 13 14 15 16 17 18 19; do
    set_major $major
    name=unbroken-$major
    [ $major != 15 ] || name=unbroken
    tar -C "$work" --zstd -xf "$TESTDATA/archives/$name.tar.zst"
    segments=("$work/$name"/????????????????????????)
    "$B/pg_waldump" "${segments[0]}" "${segments[-1]##*/}" | zstd -19 -q -f -o "$TESTDATA/wal/dump-$major.txt.zst"
    "$B/pg_waldump" -b "${segments[0]}" "${segments[-1]##*/}" | zstd -19 -q -f -o "$TESTDATA/wal/blocks-$major.txt.zst"
done
