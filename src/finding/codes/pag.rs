//! Codes about data pages.

codes! {
    CHECKSUM = "PAG-001", Damage, "checksum verification failed",
        means "The page is not the one that the server wrote, and nothing about it tells how it changed: no single flipped bit that leaves the page sound, no other block, no foreign range. Pages beyond the first twenty of a file are not examined further and stand here too.",
        next "Stop writing to the cluster and copy it as it is, with all its WAL. Restore the file's content from a backup and WAL (the whole cluster: single files cannot be mixed), or from a standby, whose copy of the page is most likely sound. Only on a copy: zero_damaged_pages or pg_surgery to get at the rows of the other pages.";
    FLIPPED_BIT = "PAG-002", Damage, "checksum verification failed; one flipped bit could explain it",
        means "Changing one bit makes the checksum right and leaves a sound page. Out of the 65,536 bits of a page one fits by chance on average, whatever happened to the page: the evidence says whether it is proved. Flipped bits come from memory without ECC, more seldom from a disk or a cable.",
        next "Test the memory of the machine (and of the storage controller) before anything is written again: the next flip may hit pg_control or WAL. Restore the page as for PAG-001; where the bit is proved, setting it back on a copy gives the original page.";
    WRONG_BLOCK = "PAG-003", Damage, "checksum verification failed; the page belongs to another block",
        means "The stored checksum is right for another block number: the storage, a file system or a copy put a sound page into the wrong place. What should be here was overwritten, or never arrived; what should be there may be lost too.",
        next "Distrust the whole storage path (firmware, controller cache, virtualisation, copy tool). Restore as for PAG-001, and examine every other relation on the same device: a page moved between the same blocks of two relations has a right checksum.";
    PARTLY_ZERO = "PAG-004", Damage, "checksum verification failed; a part of the page is zeros",
        means "Sectors of 512 bytes that must hold tuples are zero: a part of the page never reached the disk, or was lost by the storage (bad sectors replaced by zeros, a sparse copy, ddrescue).",
        next "Look into the kernel's log for I/O errors. If the disk can still be read, copy it as a whole before it gets worse. Restore as for PAG-001.";
    CONTRADICTION = "PAG-005", Damage, "checksum verification failed; the page contradicts itself",
        means "Header, line pointers and tuples do not belong together: parts of two versions of the page (a torn write: power loss with full_page_writes off, a copy of a running server's files without backup mode), or a range that something else overwrote. The evidence names the border if one explains all contradictions.",
        next "Find out whether the files are a copy, and how it was made: a torn page in a copy is no damage of the original. Restore as for PAG-001.";
    FOREIGN_BYTES = "PAG-006", Damage, "checksum verification failed; a part of the page is no database content",
        means "A range of the page is text or looks like noise, and what the page says about this range contradicts it: another program, an editor or the storage wrote into the file.",
        next "Save the page (dd) before it is overwritten: the content often tells who wrote it. Look for other files on the same device with the same bytes. Restore as for PAG-001.";
    NEW_NOT_ZERO = "PAG-007", Damage, "invalid page: pd_upper is 0 but the page is not empty",
        means "A page that was never used is all zeros; this one has a zeroed header and content behind it. pg_checksums takes it for new and passes over it, the server refuses it: invalid page in block.",
        next "As for PAG-004: the head of the page was lost. The tuples behind it are still there and can be read on a copy.";
    HEADER = "PAG-008", Damage, "invalid page header",
        means "The header says something impossible, so the server refuses the page: invalid page in block. If the checksum is right the page was damaged in memory before it was written, or written so by a bug; if checksums are off nothing else would show the damage.",
        next "Restore as for PAG-001. If the checksum is right, test the memory and look for known bugs of exactly this minor version and its extensions.";
    OTHER_RELATION = "PAG-009", Damage, "checksum verification failed; the page belongs to another relation",
        means "The page is sound in itself, but of another kind than all others of its file, or with other columns: the storage, a file system or a copy put it into the wrong file.",
        next "As for PAG-003.";
    NEWER_THAN_REDO = "PAG-010", Warning, "checksum verification failed on a page that recovery will write again",
        means "The cluster was not stopped cleanly and the page was changed after the last checkpoint began. With full_page_writes on, recovery replaces the whole page by its image in the WAL: a torn or half-copied page is normal here and no loss, as long as the WAL from REDO on is complete.",
        next "Check that the WAL from REDO on is there (controldata names the first segment, wal-gaps the holes). Let recovery run on a copy, stop cleanly and scan again: what fails then is damaged.";
    UNREADABLE = "PAG-011", Damage, "could not read block",
        means "The system cannot read these bytes: a failing disk, a broken array, a file system that detected damage itself. What is there is unknown, and reading on may make it worse.",
        next "Look into the kernel's log. Copy the device as a whole with a tool that survives errors (ddrescue) and work on the copy. Restore from a backup onto other storage.";
    SHORT_BLOCK = "PAG-012", Damage, "last block of the file is incomplete",
        means "The size of the file is no multiple of the page size. The server does not see the rest: could not read block, read only part of it. A crash while the file grew leaves this harmlessly behind; otherwise the file was cut.",
        next "If the cluster crashed, recovery extends the file again. Otherwise compare the size with a backup or a standby: if the file was cut, pages behind the cut are missing without any other sign.";
    SHRANK = "PAG-013", Warning, "file became shorter while it was read",
        means "A running server truncates relations; on a stopped cluster or a copy nothing should.",
        next "Stop what is writing there, and scan again.";
    SETTLED = "PAG-014", Note, "page was being written",
        means "The page did not fit its checksum at first, and did when it was read again: the server was just writing it.",
        next "Nothing.";
    CHECKSUMS_OFF = "PAG-015", Note, "data checksums are not enabled in cluster",
        means "Pages carry no checksums, so that only impossible page headers can be seen. A changed byte in a row is served as if it were right.",
        next "Nothing in an emergency. On the repaired cluster: stop it cleanly and run pg_checksums --enable (12 and later; up to 11 only initdb --data-checksums).";
    STORED_ZERO = "PAG-016", Damage, "checksum verification failed; the page has none",
        means "The stored checksum is 0, which no page's checksum is: the page was written while checksums were off, or by a program that does not set them, or its checksum was zeroed.",
        next "If very many pages have it, checksums were switched on or off while files were copied in: compare pg_control with its backup. If few, restore as for PAG-001.";
    STRANGE_PAGE = "PAG-017", Damage, "page belongs to another relation although its checksum is right",
        means "The page is sound but of another kind than all others of its file: it comes from the same block of another relation, whose checksum is the same. No checksum shows this. What should be here was overwritten.",
        next "As for PAG-003: distrust the whole storage path, restore, and compare the tables with their indexes (amcheck), since a page from a relation of the same kind is not seen here.";
}
