//! Resource manager 1, Transaction.

use super::Desc;
use crate::format::wal::record::Record;
use crate::pg::Major;

pub(super) fn identify(_info: u8, _major: Major) -> Option<&'static str> {
    None
}

pub(super) fn describe(_record: &Record, _desc: &mut Desc) -> Option<()> {
    Some(())
}
