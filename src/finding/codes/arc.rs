//! Codes about WAL segments, and directories that archive them.

codes! {
    MISSING = "ARC-001", Damage, "WAL segments are missing",
        means "Recovery replays segment after segment and takes the first one that it cannot get for the end of the archive: without a recovery target the server promotes there and reports success. Everything behind the gap is lost to a backup taken before it.",
        next "Do not restore yet. Look for the segments where the finding says, in the pg_wal of the primary and of every standby, under a .partial name, in other archives and in backups that carry their WAL; copy them into the archive under the exact name. If they are gone, take a new base backup now: only backups that start behind the gap can use the later segments.";
    NO_SEGMENTS = "ARC-002", Damage, "no usable WAL segment",
        means "Nothing here can be replayed: a backup without its WAL does not start.",
        next "Check that this is the directory that restore_command reads, or the repository of a backup tool, then look at the other files listed.";
    EMPTY = "ARC-003", Damage, "archive file has wrong size: 0",
        means "The file has no content, as after a full disk or a crash of the archive's machine behind a copy that was not synced. The server stops with FATAL when recovery asks for it, and archive_command may refuse to overwrite it for ever.",
        next "Compare with the copy in pg_wal, if it is still there; move the empty file aside and archive the segment again. Make archive_command write under a temporary name, sync and rename.";
    WRONG_SIZE = "ARC-004", Damage, "archive file has wrong size",
        means "A segment always has the full segment size. A shorter one is an unfinished copy; the server stops with FATAL when recovery asks for it, and an archive_command that does not overwrite will never repair it.",
        next "Compare with the copy in pg_wal or another archive, then move this file aside and put the whole one in its place. Do not pad it with zeros: records are missing.";
    NO_HEADER = "ARC-005", Damage, "invalid magic number in WAL segment",
        means "The file does not begin with a WAL page of any major from 10 to 19. Recovery ends before it, without an error if no target is set.",
        next "Look at what it is (file, head -c): an error page, a text, an encrypted file? Replace it by a copy from pg_wal, a standby or another archive.";
    ZEROS = "ARC-006", Damage, "invalid magic number 0000 in WAL segment",
        means "The file begins with zeros where a WAL page belongs: its blocks were allocated but the content never reached the disk, or a preallocated segment was archived. Recovery ends before it, without an error if no target is set.",
        next "Replace it by a copy from pg_wal, a standby or another archive. Other files archived at the same time deserve the same doubt: run with --deep.";
    FOREIGN_SYSTEM = "ARC-007", Damage, "WAL file is from different database system",
        means "The segment was written by another cluster than the majority here: two clusters archive into one directory, and they overwrite or block each other. The server refuses the segment and ends recovery there, without an error if no target is set.",
        next "Find out which cluster still archives here and stop it, or give it another directory. Move the foreign segments aside; the right ones may still be in pg_wal.";
    OTHER_MAJOR = "ARC-008", Damage, "WAL segment of another major version",
        means "The segment was written by another major than the others of this cluster: WAL from before and after a pg_upgrade lies under one directory. WAL cannot be replayed across majors.",
        next "Keep one archive directory for each major. A backup of the old major needs the old segments and servers of that major.";
    OTHER_SEGMENT_SIZE = "ARC-009", Damage, "incorrect segment size in page header",
        means "The segment states another size than the others, so that its name means another position: it is from another cluster, or from before a pg_resetwal --wal-segsize.",
        next "Move it aside if it is not this cluster's. After a change of the segment size only backups from behind the change can be used with the new segments.";
    IMPOSSIBLE_NAME = "ARC-010", Damage, "no server gives a segment this name",
        means "The last eight digits are higher than the segment size allows: the file was renamed, or is from a cluster with smaller segments.",
        next "Its page header says what it is (pgforensic wal-gaps on a directory with this file alone). Move it to where it belongs.";
    WRONG_ADDRESS = "ARC-011", Damage, "unexpected pageaddr in WAL segment",
        means "The file holds the WAL of another position than its name says: a recycled segment was archived, or files were renamed. Recovery ends before it, without an error if no target is set.",
        next "The name that its content belongs to is in the evidence. Look for the real segment in pg_wal, on a standby or in another archive; never rename files to fill a gap.";
    WRONG_TIMELINE = "ARC-012", Damage, "unexpected timeline ID in WAL segment",
        means "The pages were written on another timeline than the one that the name says, in a place where no branch can be. A file was renamed to another timeline. The server ends recovery there; only in the segment of a switch it does not notice, and replays the old timeline's transactions as if they were the new one's.",
        next "Put the file back under its own timeline, and look for the real one.";
    HIDDEN_COMPRESSION = "ARC-013", Damage, "compressed under a plain name",
        means "The content is whole but compressed, and the name does not say so: restore_command = 'cp …' hands the server compressed bytes and the server stops with FATAL: archive file has wrong size.",
        next "Use a restore_command that unpacks this compression, or unpack a copy of the file. Barman compresses so on purpose: there its own get-wal is the right restore_command.";
    NOT_COMPRESSED = "ARC-014", Damage, "not compressed although the name says so",
        means "The extension promises compression but the content is something else: restore_command's decompressor fails and the server takes the segment for absent.",
        next "If the content is a sound segment, copy it to its plain name; else look for another copy.";
    COMPRESSED_TWICE = "ARC-015", Damage, "compressed more than once",
        means "The content is whole but one decompression does not lead to it: the server stops with FATAL: archive file has wrong size. Two steps of the archiving chain compress.",
        next "Unpack a copy of the file until it is plain. Take one of the compressions out of archive_command or the tool behind it.";
    BROKEN_STREAM = "ARC-016", Damage, "compressed file is cut or damaged",
        means "The compressed stream breaks off before a whole segment came out: an unfinished copy, or damage on the way. restore_command's decompressor fails and the server takes the segment for absent: it promotes there if no target is set.",
        next "Replace it by a copy from pg_wal, a standby or another archive. What comes out before the break can still be read by hand.";
    BOMB = "ARC-017", Damage, "compressed file holds more than a segment",
        means "More bytes come out than a segment has; unpacking was stopped. It is no segment of this cluster, and unpacking it may fill the disk.",
        next "Do not unpack it on the database's machine. Look for the real segment in pg_wal, on a standby or in another archive.";
    COPIES_DIFFER = "ARC-019", Damage, "two different segments of one name",
        means "Two servers wrote the same part of the same timeline: split brain, or a restored copy that archives into its original's archive. Which of the two a recovery gets depends on restore_command.",
        next "Keep both. Find out which server wrote which (times, and from which segment on they differ), decide which history is the right one, and give the other cluster a new timeline or another archive.";
    COPIES_EQUAL = "ARC-020", Note, "the same segment more than once",
        means "Copies of one segment, equal once unpacked: harmless.",
        next "Nothing needs to be done.";
    PARTIAL_TAIL = "ARC-021", Note, "the last segment is .partial",
        means "Recovery never asks for a .partial file. It holds the newest WAL there is: pg_receivewal was still receiving it, or the server promoted while writing it.",
        next "To replay it, unpack it if it is compressed, fill it with zeros to the segment size and copy it to its name without .partial, in a copy of the archive.";
    MISNAMED = "ARC-022", Warning, "almost a segment's name",
        means "The server asks for names of exactly 24 upper-case hexadecimal digits (8 and .history for histories): this file will never be found.",
        next "Look at its page header, and copy it to its right name if that one is missing.";
    LEFTOVERS = "ARC-023", Note, "unfinished copies",
        means "Temporary files of an interrupted copy, rsync or restore. A segment that exists only under such a name counts as missing.",
        next "If a segment is missing look here for it first, but check its size; else remove them when nothing is archiving.";
    READY_BACKLOG = "ARC-024", Warning, "segments wait to be archived",
        means "Files marked .ready in archive_status have not been archived: archive_command fails or is too slow. Archiving is strictly in order, so that one failing file blocks all later ones; pg_wal grows, and a loss of this machine loses these segments.",
        next "Read the server log for the archive command's message, run the command by hand for the oldest file, and repair its cause. Delete nothing in pg_wal.";
    DONE_ABSENT = "ARC-025", Damage, "marked .done but not in the archive",
        means "archive_command reported success for a file that is not in the archive: it stores elsewhere, or nowhere (archive_command = '/bin/true'). The server will remove the segment at one of the next checkpoints.",
        next "Copy the segment out of pg_wal at once. Check that archive_command fails when it cannot store, and that this archive is the one that it stores to.";
    ONLY_IN_PG_WAL = "ARC-026", Note, "newest segments are only in pg_wal",
        means "The archive ends before the server's WAL does. That is normal for the segment being written; after a crash these segments hold the last transactions.",
        next "Before a restore over this data directory, copy its pg_wal aside and give it to the recovery: its segments are replayed last.";
    BACKUP_UNUSABLE = "ARC-027", Damage, "WAL ends before end of online backup",
        means "WAL between the start and the stop of a base backup is missing: the server stops with FATAL after hours of restoring. The backup cannot be used unless it carries that WAL itself.",
        next "Look for the missing segments as for any gap. If pg_basebackup -X stream made the backup, its own pg_wal has them. Otherwise choose another backup and take a new one.";
    SIZE_ASSUMED = "ARC-028", Warning, "segment size not found",
        means "No page header was read that states the segment size, and no plain file shows it. With another size the names mean other positions, and gaps that are none appear.",
        next "Run without --names-only, or give the size with --wal-segsize (SHOW wal_segment_size on the server).";
    OTHER_CLUSTER = "ARC-029", Fatal, "archive and data directory are not of one cluster",
        means "The system identifier in the data directory's pg_control is not the one in the archive's segments: the archive is that of another cluster.",
        next "Find the right archive. Do not let this server archive into this one.";
    DIGEST = "ARC-030", Damage, "content is not what its SHA-1 says",
        means "pgBackRest wrote the SHA-1 of the segment into its name, and the content has another one: it was changed after it was stored. archive-get does not compare them, so that recovery gets it as it is.",
        next "Run with --deep: it tells whether the records are still valid. Look for another copy in pg_wal, on a standby or in another repository, and check the disk under this one.";
    ENCRYPTED = "ARC-031", Warning, "encrypted: content not examined",
        means "The segments are encrypted. Their names are taken into account, but whether they hold what the names say is not known here.",
        next "Let the tool that has the key verify them (pgbackrest verify; wal-g wal-verify), or decrypt a copy and examine that.";
    OTHER_REPOSITORY = "ARC-032", Damage, "segments are not of the cluster that the repository names",
        means "The tool's own files name one system identifier, the page headers of the segments another one: two clusters archive into one place, or the cluster was made anew under the same name.",
        next "Keep both. Find out which cluster archives here today, and give each its own stanza, server or prefix.";
    INFO_DAMAGED = "ARC-033", Warning, "a tool's own file is damaged",
        means "pgBackRest keeps archive.info and backup.info twice, each with a checksum. It goes on with the other one; if none is sound it refuses to archive and to restore.",
        next "Compare the two files. With one sound copy, the next archive-push or backup writes both; without, the tool's support must rebuild them. The segments do not depend on them.";
    NOT_LISTED = "ARC-034", Note, "xlog.db and the directory differ",
        means "Barman's list of WAL files does not name what is in the directory. The directory counts for a restore; Barman itself goes by the list when it shows and copies WAL.",
        next "Run barman rebuild-xlogdb for this server.";
    SET_ASIDE = "ARC-035", Warning, "segments that Barman refused",
        means "Barman puts aside what it must not take in: *.duplicate are segments that came twice with different content, *.unknown are no WAL files. Different content under one name means that two servers write the same timeline.",
        next "Compare them with the segments of the same name. Find out which server sent which before one of them is removed.";
    ACCEPTED = "ARC-036", Note, "accepted gap",
        means "Segments are missing or of no use, and --accept-gap or the baseline file says that this is known. The loss stays: no recovery gets across it, and backups before it reach no further than it.",
        next "Keep a backup that starts behind the gap. Take the range out of the baseline once the archive begins behind it.";
    ACCEPTED_GONE = "ARC-037", Note, "accepted gap is not there",
        means "None of the segments that were accepted as lost is missing: they came back, or retention removed everything around them.",
        next "Take the range out of the baseline, so that it cannot hide a later loss.";
    STATE_IGNORED = "ARC-038", Note, "state file not believed",
        means "What --state names is no state of this version of pgforensic, or was cut or changed after it was written. Everything was read, as without it; the file is written anew.",
        next "Nothing needs to be done, unless it happens again: then see who else writes that file.";
}
