//! What the server's own log says, beside everything that `check` looks at.

use super::{Arguments, Found};
use crate::check::cluster::{Examination, Foresight, Foretold, run_checks};
use crate::cli::Failure;
use crate::cli::server_log::{self, Beside};
use crate::finding::{Coverage, Findings};
use crate::scan::metadata::Metadata;
use crate::scan::page_rules::Cluster;

impl Arguments {
    /// Everything that `check` looks at is beside the log; of its findings only the log's are told here.
    pub(super) fn read_log(&self, found: &mut Found) -> Result<(), Failure> {
        let (Some(path), Some(root)) = (&self.server_log, self.pgdata.first()) else {
            return Ok(());
        };
        let start = match found.ground.is_live() {
            true => None,
            false => self.start_of(&found.archives.clone().unwrap_or_default(), (root, root), found)?,
        };
        let cluster = Cluster::scan(root);
        let metadata = Metadata::scan(&cluster, self.config.as_deref());
        let control = cluster.trusted().map(|scan| &scan.detected.control);
        let foretold = match start {
            Some(start) => Foretold::Known(Box::new(Foresight::new(start, control, found.ground.threads))),
            None => Foretold::Unknown { why: String::new(), matters: false },
        };
        let examination = Examination::new(cluster, metadata, foretold);
        let (mut others, mut coverage) = (Findings::keeping_all(self.common.all), Coverage::default());
        run_checks(&examination, self.common.all, &mut others, &mut coverage);
        let beside = Beside {
            root,
            prediction: examination.foretold.prediction(),
            room: found.ground.room.as_ref(),
            findings: &others,
        };
        let mut reported = Findings::keeping_all(self.common.all);
        let compared = server_log::read(path, &beside, &mut reported, &mut found.coverage)?;
        found.ground.told_full = compared.no_room;
        found.log = Some((compared, reported));
        Ok(())
    }
}
