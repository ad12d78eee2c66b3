//! Codes about TOAST tables: the chunks of large values.

codes! {
    MISSING = "TOA-001", Damage, "toast value not found in toast table",
        means "A row that is seen has a large value stored outside, and no part of it is there. Reading the column fails: missing chunk number 0 for toast value. The other columns can be read.",
        next "Look whether the TOAST table lost blocks (pages scan, size of its file). Restore the value from a backup or a standby; on a copy, the row can be saved by setting this column to NULL.";
    CHUNKS = "TOA-002", Damage, "chunks of a toast value are missing or double",
        means "A large value is cut into numbered chunks from 0 on. Some are not there, or there twice, and reading the column fails: missing chunk number, or: unexpected chunk number.",
        next "As for TOA-001. What is there of the value can be read from the TOAST table by its chunk_id.";
    CHUNK_SIZE = "TOA-003", Damage, "chunk of a toast value has a wrong size",
        means "All chunks but the last have the same size, and the sizes sum up to what the row says. Reading the column fails: unexpected chunk size.",
        next "As for TOA-001. The chunk or the pointer in the row changed; TOAST and row version can also be of different times.";
    CHUNK_EXTRA = "TOA-004", Damage, "chunk of a toast value follows its last",
        means "There are more chunks than the size in the row needs: the row's pointer changed, or two values got the same number.",
        next "As for TOA-001.";
    CHUNK_DATA = "TOA-005", Damage, "chunk of a toast value has no valid data",
        means "A row of a TOAST table has neither nulls nor compressed data. Reading the column fails.",
        next "As for TOA-001.";
    ORPHANS = "TOA-006", Note, "toast values that no row points to",
        means "No row version has these values: rows or pages of the table were lost, or the server left them behind (a crash of VACUUM FULL, a known bug). They take space and are not seen by anybody.",
        next "If rows of the table are missing, these values are what can be saved of them: read them from the TOAST table by chunk_id. Otherwise VACUUM FULL removes them.";
}
