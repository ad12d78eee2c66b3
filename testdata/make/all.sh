#!/usr/bin/env bash
# all.sh: everything in testdata/ anew (some 6 minutes on two cores), except vector/ (vectors.py).
. "$(dirname "$0")/lib.sh"
"$MAKE/cluster.sh" 10 11 12 13 14 15 16 17 18 19
"$MAKE/states.sh" 10 11 12 13 14 15 16 17 18 19
"$MAKE/archives.sh"
"$MAKE/demo.sh"
"$MAKE/restore.sh"
"$MAKE/locate.sh" 10 11 12 13 14 15 16 17 18 19
"$MAKE/check.sh" 10 18
"$MAKE/slru.sh" 10 11 12 13 14 15 16 17 18 19
"$MAKE/gin_posting.sh"
"$MAKE/backups.sh"
