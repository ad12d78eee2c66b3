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
    SEGMENT_MISSING = "DIR-020", Damage, "segment file of a relation is missing",
        means "A relation's file is cut into segments of 1 GB; one in the middle is not there although a later one holds data. The server takes the relation to end before the gap: everything behind it is invisible, and is overwritten when the relation grows.",
        next "Do not start the server, or stop it: it will write into the gap. Look for the file in lost+found, in a snapshot, in a copy of the same state. Otherwise restore a backup.";
    SEGMENT_SHORT = "DIR-021", Damage, "segment file of a relation is cut",
        means "A segment is shorter than 1 GB although a later one holds data. The server takes the relation to end here: everything behind is invisible, and is overwritten when the relation grows.",
        next "Do not start the server, or stop it: it will extend the short file. Find out what cut it (a copy onto a full disk, a limit on file sizes), and take the whole file from a copy of the same state, or restore a backup.";
    SEGMENT_LONG = "DIR-022", Damage, "segment file of a relation is larger than a segment",
        means "No server writes a segment beyond its limit (1 GB in a default build). Something appended to the file, or files were joined, or the cluster was built with another segment size than pg_control says.",
        next "Compare with pg_control (controldata: blocks per segment of large relation), and with a backup.";
    FOREIGN_FILE = "DIR-023", Note, "file is none of PostgreSQL's",
        means "No relation has such a file name, so the server never reads it. pg_checksums does all the same, if the part of the name behind the first dot is a number or missing: its count of bad checksums then includes this file.",
        next "Find out who put it there; move it out of the data directory only when nobody needs it there.";
}
