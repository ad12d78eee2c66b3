//! `pgforensic controldata`: standard output is what the major's own pg_controldata prints; what it means
//! goes to standard error, the verdict first.
//!
//! Without a sound pg_control the WAL and the files around it are asked. What they prove goes to standard output where
//! pg_controldata would print nothing, or where it was asked for; otherwise, behind the findings, to standard error.

mod evidence;
mod lines;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use self::evidence::Counts;
use self::lines::{Context, Line};
use super::output_place::refuse_inside;
use super::{Common, Failure};
use crate::check::control::{
    Evidence, Proof, Rebuilt, check_against_wal, check_control, check_control_in_directory, check_evidence,
    check_first_segment, check_owner, control_verdict, diff_verdict, evidence_verdict, rebuild,
};
use crate::check::directory::check_directory;
use crate::finding::{Coverage, Finding, Findings, Place, ctl};
use crate::format::control::{CONTROL_FILE_SIZE, Detected};
use crate::pg::time::local_zone;
use crate::pg::{Major, WalSegSize};
use crate::plan::shell::path as quoted_path;
use crate::report::{Cell, Fact, Format, Report, Section, Status, cell_text};
use crate::scan::control::{ControlScan, Surroundings, find_history, first_segments, scan_control};
use crate::scan::control_wal::other_owner;
use crate::source::Error;
use crate::source::pgdata::DataDirectory;

/// Show pg_control as the major's own pg_controldata does, and say what it means
///
/// Standard output is byte for byte that of pg_controldata of the major that wrote the file; the verdict and
/// findings go to standard error. The major is found in the bytes.
///
/// Where pg_control is missing, damaged or another cluster's, the WAL in pg_wal and in archives is read: the newest
/// checkpoints, every field that something proves with its source, and the fields that nothing proves.
#[derive(clap::Args, Debug)]
#[command(after_help = "Examples:
  pgforensic controldata /var/lib/postgresql/data
  pgforensic controldata --file /tmp/copy-of-pg_control
  pgforensic controldata /data/primary --diff /data/standby
  pgforensic controldata /data/lost --archive /archive    pg_control is gone: what proves its fields?
  pgforensic controldata /data/primary --from-wal         does it agree with the WAL?
  pgforensic controldata /data/lost --write-to /root/pg_control   a new one, to replay the WAL with
  pgforensic controldata --format json | jq .control.redo_wal_file")]
pub(super) struct Arguments {
    /// The data directory
    #[arg(value_name = "PGDATA", env = "PGDATA", conflicts_with = "file")]
    pgdata: Option<PathBuf>,
    /// The data directory, as pg_controldata takes it
    #[arg(short = 'D', long = "pgdata", value_name = "PGDATA", conflicts_with = "file")]
    pgdata_option: Option<PathBuf>,
    /// A control file by itself, wherever it lies
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Compare with another data directory or control file: the same cluster, and which is ahead?
    #[arg(long, value_name = "OTHER")]
    diff: Option<PathBuf>,
    /// Show what the WAL proves also where pg_control is sound, instead of pg_controldata's lines
    #[arg(long, conflicts_with = "diff")]
    from_wal: bool,
    /// Read the WAL of this directory too, whether pg_control is sound or not; several are searched in this order
    #[arg(long, value_name = "DIR", conflicts_with = "diff")]
    archive: Vec<PathBuf>,
    /// Write the pg_control that the WAL proves into this new file: with it a server replays the WAL
    #[arg(long, value_name = "FILE", conflicts_with_all = ["diff", "file"])]
    write_to: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

/// A control file with or without its data directory.
struct Target {
    path: PathBuf,
    directory: Option<(DataDirectory, Surroundings)>,
}

impl Target {
    fn directory(root: &Path) -> Target {
        let directory = DataDirectory::new(root);
        let surroundings = Surroundings::scan(&directory);
        Target { path: directory.control_path(), directory: Some((directory, surroundings)) }
    }

    fn file(path: &Path) -> Target {
        Target { path: path.to_owned(), directory: None }
    }

    fn surroundings(&self) -> Option<&Surroundings> {
        self.directory.as_ref().map(|(_, surroundings)| surroundings)
    }

    fn scan(&self) -> Result<ControlScan, Error> {
        scan_control(&self.path, self.surroundings().and_then(Surroundings::major))
    }
}

impl Arguments {
    pub(super) fn run(self) -> Result<Status, Failure> {
        let target = match (&self.file, self.pgdata_option.as_ref().or(self.pgdata.as_ref())) {
            (Some(file), _) => Target::file(file),
            (None, Some(root)) if root.is_file() => Target::file(root),
            (None, Some(root)) => {
                // A path that does not exist is a typing error, not a broken cluster.
                std::fs::read_dir(root).map_err(Error::at(root, "open directory"))?;
                Target::directory(root)
            }
            (None, None) => {
                let message = "no data directory: name one, or set PGDATA, or give --file";
                return Err(Failure::Usage(message.to_owned()));
            }
        };
        if let Some(file) = &self.write_to {
            let root = target.directory.as_ref().map(|(directory, _)| directory.root().to_owned());
            refuse_inside(file, root.iter().chain(&self.archive))?;
        }
        match &self.diff {
            Some(other) => self.diff(&target, other),
            None => self.show(&target),
        }
    }

    fn show(&self, target: &Target) -> Result<Status, Failure> {
        let mut findings = Findings::keeping_all(self.common.all);
        let mut coverage = Coverage::default();
        if let Some((directory, facts)) = &target.directory {
            check_directory(directory, facts, &mut findings);
            for error in &facts.unreadable {
                coverage.fail(&error.path, error.to_string());
            }
        }
        let (scan, error) = match target.scan() {
            Ok(scan) => (Some(scan), None),
            // A file named by itself may be a typing error; in a data directory its absence is a finding.
            Err(error) if target.directory.is_none() => return Err(error.into()),
            Err(error) => (None, Some(error)),
        };
        let doubted = is_doubted(target, scan.as_ref(), &mut findings);
        let mut verdict = match (&scan, &error) {
            (Some(scan), _) => {
                coverage.files += 1;
                coverage.bytes += scan.bytes.len() as u64;
                check_control(scan, &mut findings);
                if let Some((directory, facts)) = &target.directory {
                    check_control_in_directory(scan, directory, facts, &mut findings);
                    check_first_segment(scan, directory, facts, &mut findings);
                }
                control_verdict(scan, target.surroundings(), &findings)
            }
            (None, Some(error)) => unreadable(target, error, &mut findings, &mut coverage).to_owned(),
            (None, None) => String::new(),
        };
        let with_lines = scan.as_ref().filter(|scan| scan.length > 0);
        let context = with_lines.map(|scan| Context::new(&scan.detected, local_zone()));
        let shown = with_lines.zip(context.as_ref());
        let mut sections: Vec<_> =
            shown.map(|(scan, context)| control_section(scan, context)).into_iter().collect();
        let own_sections = sections.len();
        let asked = self.from_wal || !self.archive.is_empty() || self.write_to.is_some();
        if doubted && target.directory.is_some() || asked {
            let more = self.prove(target, scan.as_ref(), &mut findings, &mut coverage, &mut sections)?;
            verdict = format!("{verdict}; {more}");
        }
        let report = self.report(vec![target.path.clone()], verdict, findings, coverage, sections);
        if self.common.format != Format::Text {
            return self.common.print(&report);
        }
        let status = report.status(self.common.fail_on.into());
        report.print_assessment(&mut io::stderr().lock())?;
        let evidence =
            Report { sections: report.sections.into_iter().skip(own_sections).collect(), ..report };
        match shown {
            Some((scan, context)) if !asked => {
                evidence.print_sections(&mut io::stderr().lock())?;
                print_lines(scan, context, &mut io::stdout().lock())?;
            }
            _ => evidence.print_sections(&mut io::stdout().lock())?,
        }
        Ok(status)
    }

    /// Asks the WAL and the files around, and says in a sentence what that gave.
    fn prove(
        &self,
        target: &Target,
        scan: Option<&ControlScan>,
        findings: &mut Findings,
        coverage: &mut Coverage,
        sections: &mut Vec<Section>,
    ) -> Result<String, Failure> {
        let directory = target.directory.as_ref().map(|(directory, facts)| (directory, facts));
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let evidence = Evidence::gather(directory, &self.archive, scan, threads);
        for (path, why) in &evidence.wal.unreadable {
            coverage.fail(path, why);
        }
        for (path, why) in &evidence.wal.left_out {
            coverage.skip(path, why);
        }
        coverage.files += evidence.wal.segments as u64 + evidence.files.read.0;
        coverage.bytes += evidence.wal.bytes_read + evidence.files.read.1;
        let judgement = evidence.judge();
        check_evidence(&evidence, &judgement, &target.path, findings);
        let proof =
            evidence.major().and_then(|major| Proof::of(&evidence, &judgement, major, evidence.abi()));
        let live = target.surroundings().is_some_and(Surroundings::is_live);
        if let (Some(scan), Some(proof)) = (scan, &proof)
            && scan.detected.crc_is_right()
        {
            check_against_wal(scan, &evidence, proof, live, findings);
        }
        let detected = scan.filter(|scan| scan.length > 0).map(|scan| &scan.detected);
        sections.extend(evidence::sections(&evidence, &judgement, proof.as_ref(), detected));
        let Some(proof) = proof else { return Ok("nothing says which major it was".to_owned()) };
        let counts = Counts::of(&proof);
        let verdict = evidence_verdict(&evidence, &judgement, counts.proved, counts.inferred, counts.all);
        let Some(file) = &self.write_to else { return Ok(verdict) };
        match rebuild(&evidence, &judgement, &proof, random_bytes()) {
            Ok(rebuilt) => {
                std::fs::write(file, &rebuilt.bytes)?;
                sections.insert(0, written_section(file, &rebuilt));
                Ok(format!(
                    "{verdict}; a pg_control that starts recovery there was written to {}",
                    file.display()
                ))
            }
            Err(why) => {
                coverage.fail(file, format!("not written: {why}"));
                Ok(format!("{verdict}; no pg_control was written: {why}"))
            }
        }
    }

    fn diff(&self, target: &Target, other: &Path) -> Result<Status, Failure> {
        let other = if other.is_dir() { Target::directory(other) } else { Target::file(other) };
        let (ours, theirs) = (target.scan()?, other.scan()?);
        let mut findings = Findings::keeping_all(self.common.all);
        let directories: Vec<_> =
            [target, &other].iter().filter_map(|t| t.directory.as_ref().map(|(d, _)| d)).collect();
        let history = |timeline| find_history(&directories, timeline);
        let verdict = diff_verdict(&ours, &theirs, &history, &mut findings);
        let coverage = Coverage {
            files: 2,
            bytes: (ours.bytes.len() + theirs.bytes.len()) as u64,
            ..Coverage::default()
        };
        let subject = vec![target.path.clone(), other.path.clone()];
        let sections = vec![difference_section(&ours.detected, &theirs.detected)];
        self.common.print(&self.report(subject, verdict, findings, coverage, sections))
    }

    fn report(
        &self,
        subject: Vec<PathBuf>,
        verdict: String,
        findings: Findings,
        coverage: Coverage,
        sections: Vec<Section>,
    ) -> Report {
        Report { command: "controldata", subject, verdict, findings, coverage, sections }
    }
}

/// For the nonce, which hides what users there are.
fn random_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    for word in bytes.chunks_mut(8) {
        let random = RandomState::new().hash_one(word.as_ptr() as usize).to_ne_bytes();
        word.iter_mut().zip(random).for_each(|(to, from)| *to = from);
    }
    bytes
}

fn written_section(file: &Path, rebuilt: &Rebuilt) -> Section {
    let own = "COPY/global/pg_control";
    let put = format!(
        "cp {} {own} && chown --reference=COPY/PG_VERSION {own} && chmod 600 {own}",
        quoted_path(file)
    );
    let facts = vec![
        fact("file", "File", Cell::Path(file.to_owned())),
        fact("command", "On a copy", put.into()),
        fact("notes", "But", Some(rebuilt.notes.join("; ")).filter(|notes| !notes.is_empty()).into()),
    ];
    Section::Facts { key: "written", heading: "The new pg_control", facts }
}

/// Is there no sound pg_control, or is it another cluster's?
fn is_doubted(target: &Target, scan: Option<&ControlScan>, findings: &mut Findings) -> bool {
    let Some(scan) = scan.filter(|scan| scan.detected.crc_is_right()) else { return true };
    let Some((directory, _)) = &target.directory else { return false };
    let first = first_segments(&scan.detected).map(|(redo, _)| redo);
    let id = scan.detected.control.system_identifier;
    let Some(found) = other_owner(directory, id, first) else { return false };
    check_owner(scan, found, &directory.join("pg_wal"), findings);
    true
}

/// The file cannot be read: the one case without fields.
fn unreadable(
    target: &Target,
    error: &Error,
    findings: &mut Findings,
    coverage: &mut Coverage,
) -> &'static str {
    coverage.fail(&target.path, error.to_string());
    if !error.is_not_found() {
        return "pg_control cannot be read";
    }
    let finding = Finding::new(ctl::MISSING, Place::path(&target.path), error.to_string());
    findings.push(finding.differs("file size in bytes", "no file", CONTROL_FILE_SIZE));
    "pg_control is missing: no server can start on this data directory"
}

fn control_section(scan: &ControlScan, context: &Context) -> Section {
    let detected = &scan.detected;
    let mut facts = vec![
        fact("major", "PostgreSQL major", Cell::from(detected.major().map(|major| major.version().number))),
        fact("crc_correct", "CRC correct", Cell::Flag(detected.crc_is_right())),
        fact("crc_stored", "CRC stored", format!("{:08X}", detected.stored_crc).into()),
        fact("crc_calculated", "CRC calculated", format!("{:08X}", detected.calculated_crc).into()),
        fact(
            "byte_order",
            "Byte order",
            if detected.layout.abi.big_endian { "big" } else { "little" }.into(),
        ),
    ];
    facts.extend(Line::of(context).map(|line| {
        let value = line.value(&detected.control, context).unwrap_or(Cell::None);
        fact(line.key, line.heading(), value)
    }));
    Section::Facts { key: "control", heading: "pg_control", facts }
}

fn fact(key: &'static str, heading: &str, value: Cell) -> Fact {
    Fact { key, heading: heading.to_owned(), value }
}

/// Only what differs, in pg_controldata's words.
fn difference_section(ours: &Detected, theirs: &Detected) -> Section {
    let contexts = [ours, theirs].map(|detected| Context::new(detected, local_zone()));
    let [our_context, their_context] = &contexts;
    let mut rows = Vec::new();
    for line in Line::of(our_context) {
        let our_value = line.value(&ours.control, our_context);
        let their_value = line.value(&theirs.control, their_context);
        if our_value != their_value {
            rows.push(vec![line.heading().into(), our_value.into(), their_value.into()]);
        }
    }
    let columns = vec![("field", "Field"), ("first", "First"), ("other", "Other")];
    Section::Table { key: "differences", heading: "Differences", columns, rows }
}

/// pg_controldata's own output, its warnings included where its major prints them on standard output.
fn print_lines(scan: &ControlScan, context: &Context, out: &mut dyn Write) -> io::Result<()> {
    let detected = &scan.detected;
    let mut text = String::new();
    // 17 moved the warnings to standard error.
    if detected.notation() < Major::V17 && !detected.crc_is_right() {
        text.push_str(
            "WARNING: Calculated CRC checksum does not match value stored in file.\n\
             Either the file is corrupt, or it has a different layout than this program\n\
             is expecting.  The results below are untrustworthy.\n\n",
        );
    }
    let seg_size = detected.control.xlog_seg_size;
    let with_size_warning = Major::V11..Major::V17;
    if with_size_warning.contains(&detected.notation()) && WalSegSize::new(seg_size.into()).is_none() {
        let unit = if seg_size == 1 { "byte" } else { "bytes" };
        text.push_str(&format!(
            "WARNING: invalid WAL segment size\n\
             The WAL segment size stored in the file, {seg_size} {unit}, is not a power of two\n\
             between 1 MB and 1 GB.  The file is corrupt and the results below are\n\
             untrustworthy.\n\n"
        ));
    }
    for line in Line::of(context) {
        let value = match line.value(&detected.control, context) {
            Some(value) => cell_text(&value),
            None => format!("(not in the file, which ends at byte {})", detected.have),
        };
        text.push_str(&line.text(&value));
        text.push('\n');
    }
    out.write_all(text.as_bytes())?;
    out.flush()
}
