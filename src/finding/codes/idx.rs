//! Codes about the inside of hash, GIN, GiST, SP-GiST and BRIN indexes, and about what indexes say of their tables.

codes! {
    ZERO_PAGE = "IDX-001", Damage, "index contains unexpected zero page",
        means "Something in the index leads to this page, but it was never written: it was lost, or zeroed by zero_damaged_pages or a repair. Everything that hung on it cannot be found through the index.",
        next "REINDEX INDEX, or REINDEX INDEX CONCURRENTLY from 12 on, once the table is known to be sound. Look for the cause (storage, a truncated copy) first.";
    CORRUPTED_PAGE = "IDX-002", Damage, "index contains corrupted page",
        means "The page header is impossible, or the special space at its end is not that of this access method: the page belongs elsewhere or was overwritten. The server stops with this message when it comes there.",
        next "See what the checksum of the page says (scan-pages --checksums). REINDEX; if the page is of another relation distrust the storage and look for the place where it should be.";
    METAPAGE = "IDX-003", Damage, "metapage of the index is wrong",
        means "The first page says what the index is and where everything in it is; a number there cannot be right. The server refuses the index, or computes wrong places from it.",
        next "REINDEX. The evidence has the number and what it can be.";
    LINK_NOWHERE = "IDX-004", Damage, "link to a page that the index does not have",
        means "A page leads to a block behind the end of the file: could not read block. The file was cut, or the page with the link is damaged or from another time.",
        next "Compare the size of the file with a backup or a standby. REINDEX.";
    REACHED_TWICE = "IDX-005", Damage, "page of the index is reached twice",
        means "Two links lead to the same page, or a chain comes back to itself. A search can run for ever, and an insertion damages two places at once.",
        next "REINDEX.";
    PAGE_TYPE = "IDX-006", Damage, "page of the index is not what leads to it expects",
        means "The page belongs to the index, but it is deleted, free, of another bucket, of another list or of another level than the link says.",
        next "REINDEX. Pages of different moments in one file point to a copy that was made while the server was writing, or to writes that were lost.";
    SIBLING = "IDX-007", Damage, "neighbouring pages of the index do not agree",
        means "The link to a neighbour is not what the neighbour, or the level above, says. A search that follows it misses entries or finds some twice.",
        next "REINDEX.";
    UNREACHED = "IDX-008", Damage, "page of the index is in use, but nothing leads to it",
        means "The page has content and is not marked as deleted or free, but no page refers to it: its entries cannot be found through the index.",
        next "REINDEX. If other pages of the index are damaged, the links to this one were in them.";
    DEPTH = "IDX-009", Damage, "leafs of the index are at different depths",
        means "All leafs of such a tree are at one depth, but a search comes to a leaf where an internal page must be, or the other way round: internal pages traversal encountered leaf page unexpectedly.",
        next "REINDEX.";
    LINE_POINTER = "IDX-010", Damage, "invalid line pointer in the index",
        means "A line pointer is of a kind that this access method never writes, or points to bytes that are not in the tuple space or belong to another tuple.",
        next "REINDEX. The checksum of the page tells whether it was damaged on disk or before.";
    TUPLE = "IDX-011", Damage, "tuple of the index contradicts itself",
        means "Sizes, states or parts of the tuple do not fit together: index has inconsistent tuple sizes.",
        next "REINDEX.";
    ORDER = "IDX-012", Damage, "wrong tuple order in the index",
        means "Entries that are searched by halving, or merged, are not in ascending order: some of them are not found.",
        next "REINDEX.";
    BOUND = "IDX-013", Damage, "entry of the index is where it is not searched for",
        means "An entry is beyond the bounds that the page above gives to its page, or in another bucket than its hash code says: it is not found.",
        next "REINDEX.";
    FLAGS = "IDX-014", Damage, "impossible flags on a page of the index",
        means "The flags in the special space are not known, or exclude each other.",
        next "REINDEX.";
    COUNT = "IDX-015", Damage, "number of things in the index differs from what it says",
        means "A page or the metapage says how many things there are, and there are more or fewer.",
        next "REINDEX if searches are affected; the evidence says what was counted.";
    BITMAP = "IDX-016", Damage, "bitmap of overflow pages is wrong",
        means "A page that is in a bucket's chain is marked as free, or the other way round. A page that is marked as free is given to another bucket with the next insertion, and its entries are lost.",
        next "REINDEX before anything is inserted.";
    DOWNLINK = "IDX-017", Damage, "downlinks and tuples of the index do not agree",
        means "A downlink leads to an item that is not there or not of the kind that it must be, or tuples are there to which none leads.",
        next "REINDEX.";
    RANGE_MAP = "IDX-018", Damage, "corrupted BRIN index: inconsistent range map",
        means "The range map and the summaries do not agree: a range leads to the summary of another one or to none, or a summary belongs to a range that does not lead to it. Queries leave out blocks that have rows.",
        next "REINDEX. Until then: set enable_bitmapscan = off for queries that would use it.";
    POSTING_LIST = "IDX-019", Damage, "posting list cannot be decoded",
        means "The packed addresses of rows end too early, are not as many as said, or are not possible.",
        next "REINDEX.";
    INVALID_TUPLE = "IDX-020", Warning, "index contains an inner tuple marked as invalid",
        means "An incomplete page split at crash recovery before upgrading to PostgreSQL 9.1. The server says so at every search that comes there.",
        next "REINDEX.";
    TID_PAST = "IDX-021", Damage, "heap tid from index tuple points past the table",
        means "The index has an entry for a row at a place that the table does not have: the table was cut or lost pages, or index and table are of different moments.",
        next "Do not REINDEX yet: the entries in the index tell how many rows the table had. Compare the table with a backup or a standby first; if the table is the right one, REINDEX.";
    TID_UNUSED = "IDX-022", Damage, "heap tid from index tuple points to unused heap page item",
        means "The row is gone and its place is free: when it is used again the index returns a row that does not belong to the key. VACUUM removed the row but not its entry, or index and table are of different moments.",
        next "REINDEX; then look for other indexes of the table with the same, and for what restored only a part of the files.";
    TID_HEAP_ONLY = "IDX-023", Damage, "heap tid from index tuple points to heap-only tuple",
        means "Rows of this kind have no index entries of their own, they are found through the first version of their row. Queries may return the row twice or by a wrong key.",
        next "REINDEX; examine the table too: its page may be from another moment.";
    MOVING = "IDX-024", Note, "pages of the index contradict each other before recovery",
        means "The cluster was not stopped cleanly, and pages of the index were changed after the last checkpoint: on disk they are of different moments until recovery has run. Contradictions between them prove nothing.",
        next "Let recovery run on a copy, stop cleanly and scan again.";
}
