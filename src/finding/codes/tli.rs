//! Codes about timelines and their history files.

codes! {
    HISTORY_MISSING = "TLI-001", Damage, "recovery target timeline does not exist",
        means "There are segments of a timeline but no history file: the server cannot be told to recover to it, does not find it as latest, and does not know its parent.",
        next "Copy the history file from the pg_wal of any server that was on this timeline, or from another archive. `pgforensic timelines` gives the lines that it must contain, as far as the history of a descendant or the records of its first segment prove them.";
    BAD_HISTORY = "TLI-002", Damage, "syntax error in history file",
        means "A line is none that the server accepts: recovery to this timeline, or to the latest if it is that, stops with FATAL. The other lines are used here as they stand.",
        next "Take the file from another copy (the pg_wal of a server on this timeline, another archive). Histories of later timelines repeat its lines.";
    BACKWARDS = "TLI-003", Warning, "switch points go backwards",
        means "A later line of the history has a lower position than the one before: the timeline branched off before its listed parent did, so that it continues an older ancestor. The server accepts it, and the ancestors in between contribute nothing: their transactions are not on this timeline.",
        next "Decide which timeline holds the data that you want and give its number as recovery_target_timeline; do not rely on latest.";
    HISTORIES_CONTRADICT = "TLI-004", Damage, "history files contradict each other",
        means "Two timelines tell the past of a common ancestor differently. Timeline numbers were given out twice, or files of two clusters are mixed.",
        next "Compare the lines and the segments' page headers, find out which server wrote which file, and keep them apart.";
    SEGMENTS_CONTRADICT = "TLI-005", Damage, "history file contradicts the segments",
        means "The history says that the timeline began at one place, but its files tell another one: the first segment is another one that cannot be explained by missing files, the switch point lies inside a record, or pages before it are the new timeline's already. The history belongs to another timeline of the same number, or the segments do.",
        next "Do not recover to this timeline before its origin is known. Compare with the history file in the pg_wal of the server that wrote the segments.";
    LATEST_STOPS = "TLI-006", Damage, "latest does not mean the highest timeline",
        means "The server finds the latest timeline by asking for one history file after the other; a missing number ends the search. It recovers to an older timeline without a word, and gives the missing number to its new timeline although segments with that number exist.",
        next "Restore the missing history file before any recovery, or set recovery_target_timeline to the number that you mean and let the new server archive elsewhere.";
    STOPPED_EARLY = "TLI-007", Warning, "a promotion left WAL of its parent behind",
        means "The history says that recovery ended because there was no more WAL, but the parent has segments behind the switch point. Either recovery stopped early (a gap or a failing restore_command at that time), or the old primary went on writing after the promotion: then its later transactions are only on the old timeline.",
        next "Before old segments are removed find out which of the two it was: the log of the promoted server shows where its recovery ended and why, the old server's log whether it still took writes.";
    NOTATION = "TLI-008", Note, "timeline numbers are hexadecimal in file names",
        means "Names have eight hexadecimal digits; logs, pg_controldata and recovery_target_timeline are decimal. The setting is read as C reads numbers: a leading 0 means octal, 0x hexadecimal, and what follows the digits is ignored in some releases.",
        next "Write the decimal number, as in the evidence.";
    COPIES_DIFFER = "TLI-009", Damage, "two different history files of one timeline",
        means "Two servers were promoted to the same timeline number: split brain, or two archives that were kept apart until now. Segments of that number can be from either.",
        next "Keep both archives apart. Find out which server wrote which, and promote one of the two again so that it gets a number of its own.";
    NO_PARENTS = "TLI-010", Damage, "history file names no ancestor",
        means "The file is empty or has comments only. The server takes the timeline for one without a parent: a backup from an older timeline cannot be recovered to it.",
        next "Take the file from another copy: the pg_wal of a server on this timeline, or another archive.";
    SPLIT_BRAIN = "TLI-011", Damage, "two servers wrote the same timeline",
        means "Two segments of one name agree up to a record and then go on with different valid records: two servers were open for writes on the same timeline. Each of them has transactions that the other one does not have, and no recovery contains both.",
        next "Keep both archives and both servers' pg_wal apart. Decide which of the two goes on, promote it so that it gets a number of its own, and get the other one's transactions out of it (logical dump, comparison) before it is removed.";
    NUMBER_TAKEN = "TLI-012", Warning, "the next timeline number is already used",
        means "The server gives its new timeline the number behind the last history file that it finds one after the other. From this place it does not see that the number is taken: two timelines of one number come into being, and archive_command fails or, if it does not test, overwrites segments.",
        next "Let the server see all history files before it is promoted: copy them into the archive that its restore_command reads, or into its pg_wal.";
    ABANDONED = "TLI-013", Note, "transactions that only a branch holds",
        means "The timeline was left here and went on by itself, so that the timeline that recovery goes to does not contain what was committed behind that. After a recovery to an earlier point this is what was wanted; after a promotion it is what was lost.",
        next "If the transactions are missed, recover a copy to that timeline (recovery_target_timeline) and take the data out of it. Keep its WAL and history file until that is settled.";
}
