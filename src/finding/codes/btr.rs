//! Codes about B-tree indexes.

codes! {
    META = "BTR-001", Damage, "index meta page is corrupt",
        means "Block 0 of a B-tree says where its root is. Without it no query and no insert can use the index.",
        next "REINDEX the index. If it is an index of a system catalog: start the server with ignore_system_indexes=on and REINDEX it.";
    PAGE = "BTR-002", Damage, "index contains corrupted page",
        means "A page of the tree is no B-tree page, or its flags, its level and its items contradict each other.",
        next "REINDEX the index. If the checksum of the page is right, look for known bugs of this minor version and test the memory.";
    LINE_POINTER = "BTR-003", Damage, "invalid line pointer in index",
        means "A line pointer of the page does not point to a tuple within it.",
        next "REINDEX the index.";
    TUPLE = "BTR-004", Damage, "index tuple contradicts its size",
        means "An index tuple says that it has another size than its line pointer, or its columns and row addresses do not fill exactly the size that it has.",
        next "REINDEX the index.";
    NATTS = "BTR-005", Damage, "wrong number of index tuple attributes",
        means "Leaf tuples have all columns, separators as many as were needed, and the first separator of a page none. This tuple has another number, or is of a kind that its page or version of index does not have.",
        next "REINDEX the index.";
    POSTING = "BTR-006", Damage, "posting list contains misplaced TID",
        means "A leaf tuple of several rows with the same key lists their addresses in order; here they are not.",
        next "REINDEX the index.";
    ORDER = "BTR-007", Damage, "item order invariant violated",
        means "The items of a page are not in the order of their keys, or not below the high key of the page, so that a search misses rows. Only types whose order depends on bytes or numbers alone are compared, so no change of a collation explains it.",
        next "REINDEX the index. Compare the rows with the table before that if it tells what was changed.";
    CROSS_ORDER = "BTR-008", Damage, "cross page item order invariant violated",
        means "A page holds a key that belongs to its left, or that is below what its parent says it may hold: a search looks for it in another page and misses the row.",
        next "REINDEX the index. Pages that changed places, or one of an older state, come from the storage or from a copy: look at PAG findings too.";
    SIBLINGS = "BTR-009", Damage, "left link/right link pair not in agreement",
        means "Two neighbours of a level do not name each other, or the links run in a circle. One of the two pages is most likely of another moment: a write that was lost.",
        next "REINDEX the index. Lost writes come from the storage or from a copy that was made without backup mode: examine other relations too.";
    DOWNLINK = "BTR-010", Damage, "downlink or sibling link points to a wrong block",
        means "A link leads to a block that is not there, that is deleted, that is on another level or that was reached before. What is below it cannot be found.",
        next "REINDEX the index.";
    HIGH_KEY = "BTR-011", Damage, "mismatch between parent key and child high key",
        means "The upper end of a page's keys stands in the page and in its parent, and both are the same bytes in a sound index.",
        next "REINDEX the index.";
    LACKS_DOWNLINK = "BTR-012", Damage, "index block lacks downlink",
        means "A page is reached from its left neighbour but not from the level above, although no split and no deletion of a page was interrupted here.",
        next "REINDEX the index.";
    NOT_REACHED = "BTR-013", Warning, "index block is not part of the tree",
        means "No link leads to this page, and it is not deleted. If the tree has no other damage only its space is lost; otherwise its entries are missing from the index.",
        next "REINDEX the index, which also gives the space back.";
    NO_ROW = "BTR-014", Damage, "index entry points to no row",
        means "The address in an index entry is one that no entry may have: behind the end of the table, an unused line pointer, or a row version that is reached through another one. A query through the index fails, or returns a row that does not belong to the key.",
        next "Find out which of the two is damaged: the table if pages of it are missing or of an older state, otherwise REINDEX the index.";
    TWICE = "BTR-015", Damage, "row is indexed twice",
        means "Two entries of the index have the same address. Queries through the index can return the row twice, or under a wrong key.",
        next "Find out which of the two is right by the row in the table; REINDEX the index.";
    KEY_DIFFERS = "BTR-016", Damage, "index entry and row have different keys",
        means "The key of an index entry is not the value in the row that it points to. Either the row or the entry was changed; neither checksums nor the order of the index need show it.",
        next "Compare both values (the evidence has them) with a backup or a standby. If the table is right: REINDEX the index. If the index is right, the row was damaged: keep the index until the row is repaired.";
    LACKS_ENTRY = "BTR-017", Damage, "heap tuple lacks matching index tuple",
        means "A row that is visible to everyone has no entry in the index: queries through the index miss it, and a unique constraint does not hold.",
        next "REINDEX the index. Check unique constraints before, since REINDEX fails on duplicates.";
    INTERRUPTED = "BTR-018", Note, "interrupted page split or deletion",
        means "The server stopped between two steps of a split or of the deletion of a page. This is a sound state: the next insert or VACUUM that comes by completes it.",
        next "Nothing.";
    NOT_JUDGED = "BTR-019", Note, "not judged before recovery has run",
        means "The cluster was not stopped cleanly. Pages that recovery may still change are of different moments, so what they say of each other was not taken for damage. Indexes are not compared with their tables then.",
        next "Let recovery run on a copy, stop it cleanly and scan again.";
}
