//! The catalogs whose file numbers are in `pg_filenode.map` instead of pg_class.
//!
//! From the maps of real clusters of every major, with the names that their servers give. Source: `RelationMapOidToFilenumber`
//! in utils/cache/relmapper.c takes whatever bootstrap entered: every catalog that is `BKI_SHARED_RELATION` or
//! `BKI_BOOTSTRAP`, with its indexes and TOAST table.

use super::{Major, Oid};
use Content::{Filled, MayBeEmpty};
use Major::{V10, V12, V15, V16, V17, V19};
use Map::{Local, Shared};

/// In which map a catalog is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    /// `global/pg_filenode.map`.
    Shared,
    /// That of every database.
    Local,
}

/// Can a sound file of it have no page?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// No: an index has a page from the start on, and without rows in these tables there is no cluster.
    Filled,
    /// Yes.
    MayBeEmpty,
}

/// One mapped catalog.
#[derive(Clone, Copy, Debug)]
pub struct MappedCatalog {
    /// `mapoid`.
    pub oid: Oid,
    /// Its name; TOAST tables are in schema pg_toast.
    pub name: &'static str,
    /// Where it is mapped.
    pub map: Map,
    /// What its file must hold.
    pub content: Content,
    since: Major,
    last: Major,
}

/// Every one, the local ones first.
#[rustfmt::skip]
static CATALOGS: &[MappedCatalog] = &[
    row(1247, "pg_type", Local, Filled, V10, V19),
    row(1249, "pg_attribute", Local, Filled, V10, V19),
    row(1255, "pg_proc", Local, Filled, V10, V19),
    row(1259, "pg_class", Local, Filled, V10, V19),
    row(2658, "pg_attribute_relid_attnam_index", Local, Filled, V10, V19),
    row(2659, "pg_attribute_relid_attnum_index", Local, Filled, V10, V19),
    row(2662, "pg_class_oid_index", Local, Filled, V10, V19),
    row(2663, "pg_class_relname_nsp_index", Local, Filled, V10, V19),
    row(2690, "pg_proc_oid_index", Local, Filled, V10, V19),
    row(2691, "pg_proc_proname_args_nsp_index", Local, Filled, V10, V19),
    row(2703, "pg_type_oid_index", Local, Filled, V10, V19),
    row(2704, "pg_type_typname_nsp_index", Local, Filled, V10, V19),
    row(2836, "pg_toast_1255", Local, MayBeEmpty, V10, V19),
    row(2837, "pg_toast_1255_index", Local, Filled, V10, V19),
    row(3455, "pg_class_tblspc_relfilenode_index", Local, Filled, V10, V19),
    row(4171, "pg_toast_1247", Local, MayBeEmpty, V12, V19),
    row(4172, "pg_toast_1247_index", Local, Filled, V12, V19),
    row(1136, "pg_pltemplate", Shared, Filled, V10, V12),
    row(1137, "pg_pltemplate_name_index", Shared, Filled, V10, V12),
    row(1213, "pg_tablespace", Shared, Filled, V10, V19),
    row(1214, "pg_shdepend", Shared, MayBeEmpty, V10, V19),
    row(1232, "pg_shdepend_depender_index", Shared, Filled, V10, V19),
    row(1233, "pg_shdepend_reference_index", Shared, Filled, V10, V19),
    row(1260, "pg_authid", Shared, Filled, V10, V19),
    row(1261, "pg_auth_members", Shared, MayBeEmpty, V10, V19),
    row(1262, "pg_database", Shared, Filled, V10, V19),
    row(2396, "pg_shdescription", Shared, MayBeEmpty, V10, V19),
    row(2397, "pg_shdescription_o_c_index", Shared, Filled, V10, V19),
    row(2671, "pg_database_datname_index", Shared, Filled, V10, V19),
    row(2672, "pg_database_oid_index", Shared, Filled, V10, V19),
    row(2676, "pg_authid_rolname_index", Shared, Filled, V10, V19),
    row(2677, "pg_authid_oid_index", Shared, Filled, V10, V19),
    row(2694, "pg_auth_members_role_member_index", Shared, Filled, V10, V19),
    row(2695, "pg_auth_members_member_role_index", Shared, Filled, V10, V19),
    row(2697, "pg_tablespace_oid_index", Shared, Filled, V10, V19),
    row(2698, "pg_tablespace_spcname_index", Shared, Filled, V10, V19),
    row(2846, "pg_toast_2396", Shared, MayBeEmpty, V10, V19),
    row(2847, "pg_toast_2396_index", Shared, Filled, V10, V19),
    row(2964, "pg_db_role_setting", Shared, MayBeEmpty, V10, V19),
    row(2965, "pg_db_role_setting_databaseid_rol_index", Shared, Filled, V10, V19),
    row(2966, "pg_toast_2964", Shared, MayBeEmpty, V10, V19),
    row(2967, "pg_toast_2964_index", Shared, Filled, V10, V19),
    row(3592, "pg_shseclabel", Shared, MayBeEmpty, V10, V19),
    row(3593, "pg_shseclabel_object_index", Shared, Filled, V10, V19),
    row(4060, "pg_toast_3592", Shared, MayBeEmpty, V10, V19),
    row(4061, "pg_toast_3592_index", Shared, Filled, V10, V19),
    row(4175, "pg_toast_1260", Shared, MayBeEmpty, V12, V17),
    row(4176, "pg_toast_1260_index", Shared, Filled, V12, V17),
    row(4177, "pg_toast_1262", Shared, MayBeEmpty, V12, V19),
    row(4178, "pg_toast_1262_index", Shared, Filled, V12, V19),
    row(4179, "pg_toast_1136", Shared, MayBeEmpty, V12, V12),
    row(4180, "pg_toast_1136_index", Shared, Filled, V12, V12),
    row(4181, "pg_toast_6000", Shared, MayBeEmpty, V12, V17),
    row(4182, "pg_toast_6000_index", Shared, Filled, V12, V17),
    row(4183, "pg_toast_6100", Shared, MayBeEmpty, V12, V19),
    row(4184, "pg_toast_6100_index", Shared, Filled, V12, V19),
    row(4185, "pg_toast_1213", Shared, MayBeEmpty, V12, V19),
    row(4186, "pg_toast_1213_index", Shared, Filled, V12, V19),
    row(6000, "pg_replication_origin", Shared, MayBeEmpty, V10, V19),
    row(6001, "pg_replication_origin_roiident_index", Shared, Filled, V10, V19),
    row(6002, "pg_replication_origin_roname_index", Shared, Filled, V10, V19),
    row(6100, "pg_subscription", Shared, MayBeEmpty, V10, V19),
    row(6114, "pg_subscription_oid_index", Shared, Filled, V10, V19),
    row(6115, "pg_subscription_subname_index", Shared, Filled, V10, V19),
    row(6243, "pg_parameter_acl", Shared, MayBeEmpty, V15, V19),
    row(6244, "pg_toast_6243", Shared, MayBeEmpty, V15, V19),
    row(6245, "pg_toast_6243_index", Shared, Filled, V15, V19),
    row(6246, "pg_parameter_acl_parname_index", Shared, Filled, V15, V19),
    row(6247, "pg_parameter_acl_oid_index", Shared, Filled, V15, V19),
    row(6302, "pg_auth_members_grantor_index", Shared, Filled, V16, V19),
    row(6303, "pg_auth_members_oid_index", Shared, Filled, V16, V19),
];

const fn row(
    oid: Oid,
    name: &'static str,
    map: Map,
    content: Content,
    since: Major,
    last: Major,
) -> MappedCatalog {
    MappedCatalog { oid, name, map, content, since, last }
}

impl MappedCatalog {
    /// Those that a major has in one kind of map.
    pub fn of(map: Map, major: Major) -> impl Iterator<Item = &'static MappedCatalog> {
        CATALOGS.iter().filter(move |row| row.map == map && (row.since..=row.last).contains(&major))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_the_maps_of_real_clusters_have() {
        let counts = |map| {
            crate::pg::version::VERSIONS
                .iter()
                .map(|v| MappedCatalog::of(map, v.major).count())
                .collect::<Vec<_>>()
        };
        assert_eq!(counts(Shared), [35, 35, 47, 43, 43, 48, 50, 50, 46, 46]);
        assert_eq!(counts(Local), [15, 15, 17, 17, 17, 17, 17, 17, 17, 17]);
    }
}
