//! Codes about pg_control.

codes! {
    MISSING = "CTL-001", Fatal, "could not open file \"global/pg_control\"",
        means "The control file is not there. No server starts without it: it says where the WAL that recovery needs begins.",
        next "Do not run pg_resetwal. Look for the file in lost+found and in a copy of the same state, or restore a backup.";
}
