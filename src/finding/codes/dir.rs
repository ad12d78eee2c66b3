//! Codes about the data directory.

codes! {
    LIVE_SERVER = "DIR-001", Note, "a server is running on this data directory",
        means "The files change while they are read: values are a snapshot, and what looks damaged may only be half-written.",
        next "For a final answer stop the server, or look at a snapshot.";
    STALE_PID_FILE = "DIR-002", Note, "stale postmaster.pid",
        means "The process that the lock file names does not run any more: the server crashed or was killed, or the file came with a copy. The next server removes it by itself.",
        next "Make sure that no server runs on these files on another host or in another container, which this check cannot see.";
    FOREIGN_PID = "DIR-003", Warning, "lock file \"postmaster.pid\" names another process",
        means "A process with that id runs but is not this cluster's server, or cannot be looked at. A starting server may refuse with: lock file \"postmaster.pid\" already exists.",
        next "Look at the process (ps -fp). Only when it is certain that no server uses the directory, also not from another host or container, may the lock file be moved aside.";
    SHARED_MEMORY_IN_USE = "DIR-004", Damage, "pre-existing shared memory block is still in use",
        means "The postmaster is gone but some of its backends still run and write: a second server, or pg_resetwal, would destroy the cluster.",
        next "End the remaining server processes of this data directory first, the gentle way (SIGTERM), and wait until all are gone.";
    NO_PG_VERSION = "DIR-005", Fatal, "file \"PG_VERSION\" is missing or contains no valid version",
        means "The server refuses to start: this is no data directory, or its top level was damaged or copied in part.",
        next "Check the path, and whether the volume is mounted. If the rest of the cluster is there, take the file from a backup: it holds the major version and a newline.";
}
