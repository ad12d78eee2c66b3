//! Codes about the maps beside a relation: free space, visibility.

codes! {
    TREE = "FSM-001", Note, "nodes of the free space map are not the maximum of their children",
        means "The page was torn or changed. A search for free space that meets a wrong node builds the page anew; until then some free space is not used, or is looked for in vain.",
        next "Nothing: VACUUM corrects it. If the checksum of the page is wrong too, look for the cause there.";
    BEHIND_END = "FSM-002", Note, "free space map tells of blocks behind the end of the relation",
        means "The map expects free space in blocks that the relation does not have: the file was cut, or lost its end, or the map is older than the last truncation. Servers that do not test for this fail to insert: could not read block.",
        next "Compare the size of the file with a backup or a standby if blocks could be missing. Otherwise remove the _fsm file while the server is stopped and run VACUUM: it builds a new one.";
    VISIBLE_BEHIND_END = "FSM-003", Warning, "visibility map has bits of blocks behind the end of the table",
        means "Truncating a table clears these bits. When the table grows again, the new blocks would be taken for all-visible, so that index-only scans show rows that nobody may see. The file was cut, or lost its end, or the map is of another time.",
        next "Compare the size of the file with a backup or a standby: blocks may be missing. Otherwise pg_truncate_visibility_map of the extension pg_visibility, then VACUUM.";
}
