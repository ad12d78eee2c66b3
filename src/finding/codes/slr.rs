//! Codes about the SLRUs: pg_xact, pg_multixact, pg_subtrans, pg_commit_ts.

codes! {
    MISSING = "SLR-001", Damage, "could not access status of transaction: a file is missing",
        means "Every look-up of a transaction (or multixact) in this range fails, and with it every query that meets a row version without hint bits. If a start reads the file the server does not start. Fatal where that is so; a warning where only commit timestamps are lost, or where pg_resetwal moved the counters over numbers that nobody ever had.",
        next "Keep the cluster as it is. Take the file from a standby, or from a backup whose WAL is replayed (the file alone, out of an older backup, lacks everything newer). Do not put zeros in its place, and do not let a crashed cluster start (recovery reads a missing file as zeroes): row versions that nobody read since they were written would vanish. slru --relations counts them, for zeros and for all-committed.";
    SHORT = "SLR-002", Damage, "could not read from file: read too few bytes",
        means "The file ends before the pages that the server needs: the rest was never copied, or was cut off. Look-ups there fail as if the file were missing.",
        next "As for SLR-001. Find out what cut the file: a full disk, an interrupted copy, a limit on file sizes.";
    ZERO_PAGES = "SLR-003", Damage, "pages of only zeros where transactions are recorded",
        means "In pg_xact zeros mean that none of these 32,768 transactions ended: the server takes all of them for crashed, so that their rows vanish and rows that they deleted come back, unless hint bits or freezing say otherwise. In pg_multixact/offsets they mean: MultiXact has invalid offset; older releases read wrong members. Somebody put zeros in the place of a lost file, the storage lost a page, or pg_resetwal moved the counter.",
        next "Stop the server before it sets hint bits by these zeros: that cannot be undone. Then as for SLR-001.";
    ZERO_SECTORS = "SLR-004", Warning, "sectors of only zeros within a page of pg_xact",
        means "2,048 neighbouring transactions or more without an end. A crash within one transaction of so many subtransactions leaves that; a disk that lost a sector does, too.",
        next "Look into the kernel's log. Compare with a standby or a backup; wal-find --xid looks for the end of one of them in the WAL.";
    UNREADABLE = "SLR-005", Damage, "could not read from file",
        means "The system cannot read it: a failing disk, wrong permissions, something that is no file. The server would say the same of every transaction there.",
        next "Look into the kernel's log. Copy the device as a whole with a tool that survives errors (ddrescue), and work on the copy. Then as for SLR-001.";
    NOT_WHOLE_PAGES = "SLR-006", Warning, "size of the file is no multiple of the page size",
        means "The server writes whole pages only: the last one was cut or something was appended. What is needed of the file is there.",
        next "Find out what wrote or copied the file; compare it with a backup.";
    TOO_LONG = "SLR-007", Warning, "file is larger than a segment",
        means "The server never writes nor reads beyond 32 pages (19: as many as pg_control says) of one file. Files were joined, or the file is of something else.",
        next "Compare with a backup.";
    FOREIGN_NAME = "SLR-008", Note, "file is none of PostgreSQL's",
        means "No segment has such a name, so the server never reads it: a copy that somebody kept aside, or the file of another major (17 and 19 changed names).",
        next "Look at it when a segment is missing: it may be the lost one.";
    OUTSIDE = "SLR-009", Note, "file is not needed",
        means "It holds only numbers before the oldest or behind the next one. VACUUM removes what is older; pg_resetwal and pg_upgrade can leave files behind.",
        next "Nothing, unless pg_control itself is the wrong one: then this file is a sign of it.";
    BEYOND_NEXT = "SLR-010", Warning, "transactions behind nextXid have a status",
        means "The cluster was stopped cleanly, and yet pg_xact knows transactions that pg_control never gave out: pg_control is older than pg_xact (restored alone, or set back by pg_resetwal), or pg_xact is of another copy. A start would give the numbers out again: rows of before then count as those of the new transactions.",
        next "Do not start it. Compare pg_control with its backups (controldata --diff) and look for rows of newer transactions: slru --relations.";
    DIRECTORY_MISSING = "SLR-011", Fatal, "could not open directory",
        means "The evidence says what a server of this major does without it; that was measured. pg_subtrans is only a cache: an empty directory will do.",
        next "Restore the directory with its files. Copies that leave out empty directories lose pg_subtrans and pg_commit_ts: mkdir, with the owner and mode of the others.";
    FRONT_MISSING = "SLR-012", Warning, "the oldest files are missing, maybe removed by VACUUM",
        means "The cluster was not stopped cleanly (or pg_resetwal guessed its oldest transaction), so that pg_control can be older than what VACUUM removed since: then nothing needs these files. If they were lost, old row versions without hint bits cannot be judged.",
        next "slru --relations says whether any row version still needs them. If one does: as for SLR-001.";
    RECOVERY_MAKES = "SLR-013", Warning, "the newest pages are not there, maybe recovery makes them",
        means "The files were copied while the server was running, and pg_control later than they. What came after the checkpoint in backup_label is in the WAL, and recovery writes it. What was there before should be in the copy.",
        next "Make sure that the WAL from the checkpoint in backup_label on is complete (wal-gaps), recover a copy, stop it cleanly and run slru again.";
    BAD_OFFSET = "SLR-014", Damage, "multixact has an impossible offset",
        means "The members of this multixact would lie where no members are, or before those of an older one: pg_multixact/offsets was overwritten, or does not belong to this pg_control. Row locks and updates of rows with such a t_xmax cannot be judged: MultiXact has invalid next offset, or invalid memory alloc request size.",
        next "As for SLR-001, for offsets and members together.";
    NEVER_RECORDED = "SLR-015", Note, "multixacts or members that were never recorded",
        means "A crash between taking a number and writing it leaves such a hole, and no row has that number.",
        next "Nothing, if there are few. Very many are lost ones: as for SLR-003.";
    BAD_MEMBER = "SLR-016", Damage, "member of a multixact has an impossible status",
        means "There are six ways to lock or update a row, and this is none of them: pg_multixact/members was overwritten, or does not belong to these offsets.",
        next "As for SLR-014.";
    NEEDED_BY_ROWS = "SLR-017", Damage, "row versions hang on transactions whose status is lost",
        means "These row versions have no hint bit that says whether their transaction committed, and the file that knows is missing, cut or unreadable. The evidence tells how many would be seen if the file were zeros and if everything in it had committed.",
        next "Look for the real file first (SLR-001), or for the ends of these transactions in archived WAL (wal-find --xid). Only on a copy, when nothing else is left: choose by the counts. All-committed brings rolled back rows and the old versions of updated rows to light; zeros lose what nobody read since.";
    XID_FUTURE = "SLR-018", Damage, "row versions of transactions that were never given out",
        means "The cluster was stopped cleanly, and these row versions carry transactions from nextXid on: the server cannot look them up, or mistakes them for later ones. pg_control is too old (pg_resetwal, a restored file), or pages are damaged or of another cluster.",
        next "Do not start it. If there are many and close to nextXid, the counter is wrong: pg_resetwal -x on a copy, behind the newest. If few, the pages are: scan-pages.";
    XID_PAST = "SLR-019", Damage, "row versions of transactions before oldestXid",
        means "No row version may carry an unfrozen transaction that old: found xmin from before relfrozenxid. The status was removed: could not access status of transaction. Freezing went wrong, oldestXid was set by hand, or the page is damaged.",
        next "Find out which rows it is (pg_catcheck, amcheck's verify_heapam from 14 on). On a copy pg_surgery (14 and later) freezes or removes single row versions.";
}
