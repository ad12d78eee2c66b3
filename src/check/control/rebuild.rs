//! A pg_control made of what the WAL proves, with which a server replays the WAL: nothing is lost, unlike with
//! pg_resetwal.
//!
//! Its state is "in production", whatever the server's was: behind a clean shutdown there is nothing to replay, so that
//! recovery from there changes nothing.

use super::evidence::{Evidence, Judgement};
use super::proof::{CHECKPOINT_FIELDS, Confidence, Proof};
use crate::format::control::{DbState, FLOATFORMAT_VALUE, Layout};
use crate::format::control_write::write_control;
use crate::pg::Major;

/// Fields without which it must not be made, besides those of the checkpoint: a wrong one destroys.
const NEEDED: &[&str] =
    &["system_identifier", "xlog_seg_size", "pg_control_version", "data_checksum_version"];

/// A control file.
#[derive(Debug)]
pub struct Rebuilt {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// What somebody should know who uses it.
    pub notes: Vec<String>,
}

/// Makes it, or says why not. `nonce`: random bytes.
pub fn rebuild(
    evidence: &Evidence,
    judgement: &Judgement,
    proof: &Proof,
    nonce: [u8; 32],
) -> Result<Rebuilt, String> {
    if !judgement.ahead.is_empty() {
        return Err(format!("the WAL may be ahead of the data files: {}", judgement.ahead.join(", ")));
    }
    judgement.recoverable.clone()?;
    for field in CHECKPOINT_FIELDS.iter().chain(NEEDED) {
        let there = fields_of(proof.major).iter().any(|known| known == field);
        let least = if CHECKPOINT_FIELDS.contains(field) { Confidence::Proved } else { Confidence::Inferred };
        if there && proof.known(field).confidence < least {
            return Err(format!("nothing proves {field}"));
        }
    }
    let major = Major::from_control_version(proof.major.version().control_version).unwrap_or(proof.major);
    let layout = Layout { major, abi: evidence.abi() };
    let mut control = proof.control.clone();
    control.state = DbState::InProduction.number();
    control.float_format = FLOATFORMAT_VALUE;
    control.data_checksum_version_init =
        control.data_checksum_version_init.map(|_| control.data_checksum_version);
    control.mock_authentication_nonce = nonce;
    let mut notes = Vec::new();
    let end_of_files = evidence.wal.main().and_then(|chain| chain.normal).filter(|end| end.is_end_of_files());
    if let Some(end) = end_of_files {
        notes.push(format!("if later WAL existed and is lost, pages may be newer than the end: {end}"));
    }
    let by_default: Vec<_> = fields_of(proof.major)
        .into_iter()
        .filter(|field| proof.known(field).confidence == Confidence::Default)
        .collect();
    if !by_default.is_empty() {
        notes.push(format!("of a usual build or configuration: {}", by_default.join(", ")));
    }
    Ok(Rebuilt { bytes: write_control(&control, layout), notes })
}

fn fields_of(major: Major) -> Vec<&'static str> {
    let layout = Layout {
        major: Major::from_control_version(major.version().control_version).unwrap_or(major),
        abi: crate::format::reader::Abi::LITTLE_64,
    };
    layout.fields().into_iter().map(|field| field.name).collect()
}
