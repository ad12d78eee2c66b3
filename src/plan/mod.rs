//! Facts and findings to ordered steps. Nothing is run here: a plan is read by somebody who decides.

pub mod backup;
pub mod command;
pub mod control;
pub mod damage;
pub mod loss;
pub mod nodes;
pub mod relation;
pub mod repair;
pub mod reset;
pub mod restore;
pub mod room;
pub mod shell;
pub mod ways;

use self::loss::KnownWal;
use self::ways::{Ground, Way};

/// Ways out that are more than a start of what lies there or of a backup: each looks at what is known and has none, one
/// or more to offer.
pub const SOURCES: &[fn(&Ground, &KnownWal) -> Vec<Way>] = &[control::ways, repair::ways, nodes::ways];

/// One step of a plan: text only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// What it is for, in one sentence.
    pub does: String,
    /// The command, one a line; empty where there is none.
    pub command: String,
    /// What is different afterwards.
    pub changes: String,
    /// What must be seen.
    pub expect: String,
    /// When not to go on.
    pub stop_if: String,
}

impl Step {
    /// A step with all that is said of it, in the order in which it is read.
    pub fn new(
        does: impl Into<String>,
        command: impl Into<String>,
        changes: impl Into<String>,
        expect: impl Into<String>,
        stop_if: impl Into<String>,
    ) -> Step {
        Step {
            does: does.into(),
            command: command.into(),
            changes: changes.into(),
            expect: expect.into(),
            stop_if: stop_if.into(),
        }
    }
}
