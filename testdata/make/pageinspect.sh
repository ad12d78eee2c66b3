#!/usr/bin/env bash
# pageinspect.sh [NN...]: testdata/pgNN/pageinspect.txt.zst: what the functions of each major's own pageinspect return for the user's
# relations of testdata/pgNN/cluster.tar.zst, as COPY TO STDOUT prints it with the block number in front. A line "# FUNCTION FILE" goes
# before the rows of each.
. "$(dirname "$0")/lib.sh"
[ $# -gt 0 ] || set -- 10 11 12 13 14 15 16 17 18 19
for major; do
    set_major "$major"; scratch "pageinspect$major"
    trap '[ ! -e "$W/cluster/postmaster.pid" ] || stop "$W/cluster" immediate' EXIT
    tar -C "$W" --zstd -xf "$TESTDATA/pg$NN/cluster.tar.zst"
    [ "$(id -u)" != 0 ] || chown -R postgres: "$W"
    start cluster
    : >"$W/out.sql"
    # FUNCTION CALL KIND-OF-RELATION [CONDITION]: $1(get_raw_page(…)) or another call; raw stands for the page, rel for the name.
    one() {
        local relation path kind method blocks
        while read -r relation path kind method blocks; do
            [[ " $3 " == *" $method "* ]] || continue
            local file=$path count=$blocks raw="get_raw_page('$relation', b)"
            local call=${2//raw/$raw}; call=${call//rel/"'$relation'"}
            local where=${4:-true}; where=${where//raw/$raw}
            printf '\\echo # %s %s\n' "$1" "$file"
            printf 'copy (select b, f.* from (select b from generate_series(0, %s - 1) b where %s offset 0) s, lateral %s f) to stdout;\n' "$count" "$where" "$call"
        done <"$W/relations" >>"$W/out.sql"
    }
    sql -F ' ' -c "select c.oid::regclass, pg_relation_filepath(c.oid), relkind, case relkind when 'i' then amname else 'heap' end, pg_relation_size(c.oid) / 8192 from pg_class c left join pg_am a on a.oid = relam where c.oid >= 16384 and relkind in ('r', 't', 'i') and pg_relation_size(c.oid) > 0 order by 2" >"$W/relations"
    one page_header 'page_header(raw)' 'heap btree hash gin gist spgist brin'
    one heap_page_items 'heap_page_items(raw)' heap
    one bt_metap 'bt_metap(rel)' btree 'b = 0'
    one bt_page_stats 'bt_page_stats(rel, b)' btree 'b > 0'
    one bt_page_items 'bt_page_items(rel, b)' btree 'b > 0'
    one hash_page_type 'hash_page_type(raw)' hash
    one hash_metapage_info 'hash_metapage_info(raw)' hash 'b = 0'
    one hash_page_stats 'hash_page_stats(raw)' hash "hash_page_type(raw) in ('bucket', 'overflow')"
    one hash_page_items 'hash_page_items(raw)' hash "hash_page_type(raw) in ('bucket', 'overflow')"
    one gin_metapage_info 'gin_metapage_info(raw)' gin 'b = 0'
    one gin_page_opaque_info 'gin_page_opaque_info(raw)' gin
    one gin_leafpage_items 'gin_leafpage_items(raw)' gin "(gin_page_opaque_info(raw)).flags = '{data,leaf,compressed}'"
    if [ "$NN" -ge 14 ]; then
        one gist_page_opaque_info 'gist_page_opaque_info(raw)' gist
        one gist_page_items_bytea 'gist_page_items_bytea(raw)' gist
        one gist_page_items 'gist_page_items(raw, rel)' gist
    fi
    one brin_page_type 'brin_page_type(raw)' brin
    one brin_metapage_info 'brin_metapage_info(raw)' brin 'b = 0'
    one brin_page_items 'brin_page_items(raw, rel)' brin "brin_page_type(raw) = 'regular'"
    one brin_revmap_data 'brin_revmap_data(raw)' brin "brin_page_type(raw) = 'revmap'"
    sql -f "$W/out.sql" | zstd -19 -q -f -o "$TESTDATA/pg$NN/pageinspect.txt.zst"
    stop cluster
done
