//! What the server's own log says, beside everything that `check` looks at.

use super::{Arguments, Found};
use crate::check::cluster::{Foresight, Foretold, check_data, check_others};
use crate::cli::Failure;
use crate::cli::server_log::{self, Beside};
use crate::finding::{Coverage, Findings};

impl Arguments {
    /// Of the findings beside it only those of the log, and of the data, are told here.
    pub(super) fn read_log(&self, found: &mut Found, data_are_checked: bool) -> Result<(), Failure> {
        let (Some(path), Some(root)) = (&self.server_log, self.pgdata.first()) else {
            return Ok(());
        };
        let start = match found.ground.is_live() {
            true => None,
            false => self.start_of_data(&found.archives.clone().unwrap_or_default(), found)?,
        };
        let played = start.map(|start| (found.ground.predict(&start), start));
        let threads = found.ground.threads;
        let Some(examination) = &mut found.ground.examination else { return Ok(()) };
        if let Some((prediction, start)) = played {
            let foresight = Foresight::new(start, prediction, examination.control(), threads);
            examination.foretold = Foretold::Known(Box::new(foresight));
        }
        let (mut others, mut coverage) = (found.findings.clone(), Coverage::default());
        if !data_are_checked {
            check_data(examination, &mut others, &mut coverage);
        }
        check_others(examination, &mut others, &mut coverage);
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
