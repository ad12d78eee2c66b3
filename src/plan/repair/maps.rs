//! Free space and visibility maps are caches: without the file the server takes nothing for free or visible, and VACUUM
//! makes it anew.

use super::super::Step;
use super::super::damage::{Thing, What};
use super::super::shell::path as quoted_path;
use super::super::ways::Kind;
use super::{Remedy, Site, owner_of};
use crate::pg::relation::ForkNumber;

pub(super) fn remedies(thing: &Thing, site: &Site) -> Vec<Remedy> {
    let What::Fork(fork) = &thing.what else { return Vec::new() };
    let what = match fork.path.name.fork {
        ForkNumber::Fsm => "free space map",
        ForkNumber::Vm => "visibility map",
        ForkNumber::Main | ForkNumber::Init => return Vec::new(),
    };
    let mut remedy = Remedy::new(Kind::Rebuild, format!("delete {}, the {what}", fork.file()));
    let file = quoted_path(&site.file(&fork.file()));
    remedy.stopped.push(Step::new(
        format!("Delete the {what} of {}", fork.title()),
        format!("rm -f {file} {file}.*"),
        "a cache is gone; no row is in it",
        "exit status 0",
        "the name does not end in _fsm or _vm",
    ));
    if let Some(owner) = owner_of(thing).filter(|owner| owner.database != "template0" && owner.kind != b'i') {
        // A TOAST table is vacuumed with its table.
        let table = owner.table.as_deref().unwrap_or(owner);
        remedy.running.push(Step::new(
            "Make it anew",
            site.sql(&owner.database, &format!("VACUUM {}", table.sql())),
            format!("{}: free space and visibility are known again", table.sql()),
            "VACUUM",
            "ERROR: the table is damaged too",
        ));
    }
    vec![remedy]
}
