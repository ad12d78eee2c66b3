//! Codes about the inside of tables: line pointers, row versions, update chains, visibility map.

codes! {
    LINE_POINTER = "HEA-001", Damage, "corrupted line pointer",
        means "The line pointer leads to a place where no row version of this page can be: outside of the page or of the space of its tuples, not aligned, too short for a header; or it is unused or dead and has a place nevertheless. The row version that it led to cannot be found any more; the bytes of it may still be in the page.",
        next "Stop writing to the cluster and copy it. If checksums are on and right, the page was damaged in memory before it was written, or by a bug. Restore the page's content from a backup and WAL, or from a standby. The page command shows all bytes of the block.";
    OVERLAP = "HEA-002", Damage, "two line pointers lead to the same bytes",
        means "Two row versions share bytes, which the server never does: at least one of the two is not the row that it was.",
        next "As for HEA-001. Compare both rows with a backup or a standby.";
    REDIRECT = "HEA-003", Damage, "corrupted redirection of a line pointer",
        means "A line pointer that stands for a pruned HOT chain does not lead to a heap-only tuple of its page. Index scans do not find the row; scans of the table may.",
        next "As for HEA-001. Do not REINDEX before the rows are saved: it takes what scans of the table see.";
    HEADER_LENGTH = "HEA-004", Damage, "tuple data begin at an impossible place",
        means "t_hoff does not fit the number of columns, the null bitmap or the length of the tuple, so that every column of the row is read from the wrong place.",
        next "As for HEA-001. A copy with t_hoff corrected gives the row back, if only this byte changed.";
    FLAGS = "HEA-005", Damage, "flags of a tuple contradict each other",
        means "The server never sets these bits of t_infomask and t_infomask2 together, or never with such an xmax. Whether the row is visible is decided by them.",
        next "As for HEA-001.";
    COLUMNS = "HEA-006", Damage, "number of attributes exceeds maximum expected for table",
        means "The row has more columns than pg_attribute knows for its table: t_infomask2 changed, the page belongs to another table, or the catalogs are older than the table.",
        next "Look at the neighbouring rows: if all have so many columns, the file or the catalogs are of another time or another table.";
    CHAIN = "HEA-007", Damage, "row versions of an update chain contradict each other",
        means "An update links the old version of a row to the new one: xmax of the old is xmin of the new, and heap-only tuples are reached from their page only. These two do not agree, so an update may be lost, a row seen twice or not found through an index.",
        next "As for HEA-001. SELECT with enable_indexscan and enable_bitmapscan off and on shows whether the row comes twice or not at all.";
    CTID = "HEA-008", Damage, "t_ctid points to an impossible place",
        means "No row version can have this number. UPDATE, SELECT FOR UPDATE and EvalPlanQual follow t_ctid when the row was changed at the same time.",
        next "As for HEA-001.";
    CTID_BEYOND = "HEA-009", Note, "t_ctid points behind the end of the table",
        means "The next version of this row stood in blocks that VACUUM cut off since: of an update that was rolled back, or of a row that is deleted. If the table was cut by something else, this is a sign of it.",
        next "Compare the size of the file with a backup or a standby if blocks could be missing.";
    XID_FUTURE = "HEA-010", Damage, "transaction ID equals or exceeds next valid transaction ID",
        means "No transaction had this number yet. Queries fail with: could not access status of transaction, or take the row for one that is being written, and it appears when the number is given out. One row: its header is damaged. Many: pg_control, or the table, is of another time than the rest (a backup copied without its WAL, pg_resetwal).",
        next "Compare nextXid of pg_control with the newest rows. If pg_control is the older one, do not start the server: it would give the same numbers out again.";
    XID_PAST = "HEA-011", Damage, "transaction ID precedes the freeze threshold",
        means "A row version that VACUUM should have frozen was not, or its xmin or xmax changed. VACUUM of the table fails (found xmin from before relfrozenxid), and where pg_xact was truncated the row cannot be read any more.",
        next "If many rows have it: was pg_control or pg_class restored from another time, or a known bug of this minor version at work? On a copy, pg_surgery's heap_force_freeze can save rows that are known to be right.";
    MULTI_BOUNDS = "HEA-012", Damage, "multitransaction ID out of range",
        means "The multixact in xmax was never given out, or is older than those that are kept. Reading or updating the row fails with: MultiXactId has not been created yet -- apparent wraparound, or: does no longer exist.",
        next "As for HEA-010 and HEA-011, for nextMulti and oldestMulti.";
    MULTI_LOST = "HEA-013", Damage, "members of a multixact cannot be looked up",
        means "The multixact in xmax has an updater, and pg_multixact does not say who. Whether the row was updated or deleted cannot be decided, and reading it fails.",
        next "Look at pg_multixact with slru; restore the file there, not the table.";
    UPDATER = "HEA-014", Damage, "update xid is invalid",
        means "xmax is a multixact that is not only of lockers, and none of its members updated the row.",
        next "Look at the multixact with slru --multixact. If its members are wrong too, pg_multixact is what is damaged.";
    HINT = "HEA-015", Damage, "hint bits contradict pg_xact",
        means "The row version says that its transaction committed (or aborted), pg_xact says the opposite. One of the two is damaged. Rows with hint bits are served by the hint bits, other rows of the same transaction by pg_xact, so that a transaction is seen in part.",
        next "If many rows have it, pg_xact is the damaged one: slru shows zeros and gaps. Restore that file from a standby or a backup with WAL before anything reads the tables. If it is one row, restore the page.";
    NO_STATUS = "HEA-016", Damage, "could not access status of transaction",
        means "The row version has no hint bits, and the file of pg_xact that has its transaction cannot be read: every query that meets the row fails.",
        next "slru names the file and what is wrong with it. slru --relations counts the rows that hang on it.";
    XVAC = "HEA-017", Damage, "old-style VACUUM FULL transaction ID",
        means "The flags of a VACUUM FULL of before 9.0 are set. They can only be left in clusters that were upgraded from there; here the transaction is none that can have done it.",
        next "As for HEA-001.";
    ATTRIBUTE = "HEA-018", Damage, "attribute ends beyond the tuple",
        means "A column does not fit into its row: its length, or that of a column before it, changed. Reading it fails (invalid memory alloc request size) or gives bytes of something else, and can crash the server.",
        next "Save the other columns and rows first. SELECT of the columns before the named one works; the page command shows the bytes.";
    TUPLE_END = "HEA-019", Warning, "columns of a tuple do not fill it",
        means "Behind the last column bytes are left, which the server never leaves: the length of a column, the null bitmap or the number of columns changed to a smaller value.",
        next "Compare the row with a backup or a standby.";
    TOAST_POINTER = "HEA-020", Damage, "corrupted pointer to a TOAST value",
        means "What stands in the row in place of a large value is no pointer that the server writes. The value cannot be read by it: missing chunk, or a failure of memory.",
        next "The value itself may still be whole in the TOAST table, found by its chunk_id. Restore the row from a backup if not.";
    COMPRESSED = "HEA-021", Damage, "header of a compressed value is impossible",
        means "The method of compression or the size of the value is none that the server writes. Reading the column fails: compressed data is corrupt, or: invalid compression method.",
        next "As for HEA-018.";
    NOT_ALL_VISIBLE = "HEA-022", Damage, "page is marked all-visible and holds a tuple that is not",
        means "Some transactions must not see the row (it is deleted, or never committed), but the page says that everybody sees all of it. Scans of the table then show it, and VACUUM may never come here. pg_visibility's pg_check_visible names the same.",
        next "Decide by xmin, xmax and pg_xact which is right. If the row must not be seen, VACUUM (DISABLE_PAGE_SKIPPING) clears the mark after the cause is found.";
    MAP_ALL_VISIBLE = "HEA-023", Damage, "visibility map says all-visible and the page does not",
        means "Index-only scans take rows from the index without looking at the page: deleted rows appear. Either the map or the page is older than the other: a lost write, a file from another time, or a known bug.",
        next "On the running cluster VACUUM repairs the bit and warns. Without it: pg_truncate_visibility_map, then VACUUM. Look for other lost writes first: the page may be the stale one.";
    MAP_ALL_FROZEN = "HEA-024", Damage, "visibility map says all-frozen and a tuple is not",
        means "VACUUM passes over the block even to prevent wraparound. When pg_xact is truncated below this transaction the row can no longer be read, or vanishes. pg_visibility's pg_check_frozen names the same.",
        next "pg_truncate_visibility_map, then VACUUM FREEZE, soon; find the cause first.";
    LSN_FUTURE = "HEA-025", Damage, "page is newer than the WAL",
        means "The page was changed by a WAL record that is not there: its WAL was lost, replaced or reset, or the page comes from another cluster or another time. The server cannot write such a page back: xlog flush request is not satisfied.",
        next "Find the WAL that belongs to it before anything is started. If WAL was reset, dump the data and load them into a new cluster.";
    PRUNE_XID = "HEA-026", Note, "pd_prune_xid equals or exceeds next valid transaction ID",
        means "Only a hint when pruning could be useful; a wrong one costs nothing but says that the header was changed, or that pg_control is older than the page.",
        next "Nothing by itself.";
    REMNANTS = "HEA-027", Note, "old row versions in the free space",
        means "The space between pd_lower and pd_upper holds bytes of rows that were pruned. This is usual: the server does not clear it. It can be of use to recover rows that were deleted.",
        next "Nothing. The page command shows them.";
}
