//! `pgforensic controldata`.
use super::{Common, Failure};
use crate::report::Status;

/// Show pg_control as pg_controldata does, and say what it means
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        Err(Failure::Usage("not yet".into()))
    }
}
