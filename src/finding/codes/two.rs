//! Codes about prepared transactions.

codes! {
    CORRUPT = "TWO-001", Fatal, "corrupted two-phase state file",
        means "The state file of a prepared transaction is not what the server wrote. Every start reads all of them: from 12 on it stops there, 10 and 11 remove the file with a warning, and the transaction is rolled back in silence.",
        next "Copy the data directory first. Take the file from a copy of the same state. If the transaction began after the last checkpoint its state is still in the WAL (wal-dump, PREPARE). Moving the file away rolls the transaction back.";
    FUTURE = "TWO-002", Damage, "removing future two-phase state file",
        means "The transaction is not given out yet as far as pg_control knows: files of different states lie together. A start removes the file, and the prepared transaction is lost.",
        next "Keep a copy of the file. Find out whether pg_control or the file is of another state.";
    STALE = "TWO-003", Warning, "removing stale two-phase state file",
        means "The transaction is recorded as ended: the file is of an older state. A start removes it.",
        next "Nothing, if a commit or rollback was under way when the server ended.";
    TOO_MANY = "TWO-004", Damage, "maximum number of prepared transactions reached",
        means "There are more prepared transactions than pg_control's max_prepared_transactions, the setting of the last run. A server with that setting does not start.",
        next "Set max_prepared_transactions to at least their number before the start.";
    OLD = "TWO-005", Note, "prepared transaction",
        means "It holds its locks, and VACUUM keeps every row that it may still see, until somebody ends it with COMMIT PREPARED or ROLLBACK PREPARED.",
        next "Ask whose it is (the transaction manager), then end it in the database that the evidence names.";
    FOREIGN_NAME = "TWO-006", Note, "file is none of PostgreSQL's",
        means "State files are named after the transaction: 8 digits up to 16, 16 from 17 on. A start passes over others, so that a prepared transaction in it is not there for the server.",
        next "Find out where it comes from: a file of the other length is of another major.";
}
