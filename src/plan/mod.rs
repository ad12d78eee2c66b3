//! Facts and findings to ordered steps. Nothing is run here: a plan is read by somebody who decides.

pub mod control;
pub mod loss;
pub mod reset;
pub mod restore;
pub mod shell;
pub mod ways;

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
