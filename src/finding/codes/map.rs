//! Codes about relation maps.

codes! {
    MISSING = "MAP-001", Damage, "could not open file \"pg_filenode.map\"",
        means "The map says in which files the catalogs are that are needed before pg_class can be read. Without that of a database nobody can connect to it, without the one in global to any.",
        next "Take the file from a backup or a snapshot, if no VACUUM FULL, CLUSTER or REINDEX of a mapped catalog was run since: only these change it. In a cluster where none was ever run, the map of a freshly made cluster of the same minor version is the same.";
    INVALID = "MAP-002", Damage, "relation mapping file contains invalid data",
        means "The file is cut, or its magic number or its number of entries are none that a server writes. Nobody can connect to the database; with the map in global to none.",
        next "Keep a copy of the file. Take one from a backup or a snapshot, if no VACUUM FULL, CLUSTER or REINDEX of a mapped catalog was run since.";
    BAD_CRC = "MAP-003", Damage, "relation mapping file contains incorrect checksum",
        means "The bytes are not those that the server wrote. Nobody can connect to the database; with the map in global to none.",
        next "Keep a copy of the file. Take one from a backup or a snapshot, if no VACUUM FULL, CLUSTER or REINDEX of a mapped catalog was run since.";
    FILE_MISSING = "MAP-004", Damage, "could not open file of a mapped catalog",
        means "The map names a file that is not there. Without it nobody can connect, or the catalog cannot be read.",
        next "Look for the file in lost+found, in a snapshot or a backup of the same state. An index can be made anew: start with ignore_system_indexes and REINDEX it. If other catalogs of the same map have files under other numbers, the map is of another state.";
    FILE_EMPTY = "MAP-005", Damage, "file of a mapped catalog is empty",
        means "The file has no page, and a sound one has at least one: it was cut, or made anew by something else than the server.",
        next "As for a missing file: take it from a copy of the same state; an index can be made anew with ignore_system_indexes.";
    ENTRIES = "MAP-006", Damage, "could not find relation mapping",
        means "The checksum is right, but the map has not the catalogs of this major, or one of them twice: it is the map of another kind of directory (global or a database) or of another major, put there by hand.",
        next "Take the map of this directory from a backup or a snapshot.";
}
