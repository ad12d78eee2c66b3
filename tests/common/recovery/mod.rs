//! Random recoveries: worlds of real servers, scenarios of what may have happened to them, the recovery that the
//! server really does, and the prediction beside it.
//!
//! - a *world* is made once for each major: a primary with an archive, base backups, forks, crashed copies, and
//!   marks, the places in its WAL that have names (`world`, `story`);
//! - a *scenario* is one line of words: which directory, what was done to it and to the archive, which target. It says
//!   everything by the names of marks, so the same line means the same in the next world (`scenario`, `damage`);
//! - the *generator* draws such lines (`generate`);
//! - the *recovery* is run on a copy (`run`) and its end is read from the log, the server and the files (`observe`);
//! - the *comparison* is field by field (`compare`).

pub mod compare;
pub mod damage;
pub mod generate;
pub mod observe;
pub mod reason;
pub mod run;
pub mod scenario;
pub mod story;
pub mod wal_bytes;
pub mod world;
