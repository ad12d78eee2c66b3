//! What the settings will make the server do, and whether they belong to this cluster.

use super::{Examination, Foretold, counted, unreadable};
use crate::finding::{Code, Coverage, Finding, Findings, Place, Severity, cfg};
use crate::format::settings::{TargetTimeline, boolean, target_timeline};
use crate::pg::{Lsn, Major};
use crate::scan::metadata::Settings;

/// At most one of them, from 12 on.
const TARGETS: &[&str] = &[
    "recovery_target",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_xid",
];

/// Settings that are on or off, among those that matter here.
const BOOLEANS: &[&str] = &[
    "fsync",
    "full_page_writes",
    "hot_standby",
    "ignore_checksum_failure",
    "ignore_invalid_pages",
    "ignore_system_indexes",
    "recovery_target_inclusive",
    "standby_mode",
    "zero_damaged_pages",
];

/// Settings with a list of words, besides those of a boolean for `archive_mode`.
const WORDS: &[(&str, &[&str])] = &[
    ("archive_mode", &["always"]),
    ("recovery_target", &["", "immediate"]),
    ("recovery_target_action", &["pause", "promote", "shutdown"]),
    ("wal_level", &["minimal", "replica", "logical", "archive", "hot_standby"]),
];

/// Those that give up safety, and the value that does.
const UNSAFE: &[(&str, bool)] = &[
    ("fsync", false),
    ("full_page_writes", false),
    ("ignore_checksum_failure", true),
    ("ignore_invalid_pages", true),
    ("zero_damaged_pages", true),
];

/// Commands that succeed and do nothing.
const DO_NOTHING: &[&str] = &["true", "/bin/true", "/usr/bin/true", ":", "exit 0", "cd .", "rem"];

/// What is judged, and where it goes.
struct Judge<'e, 'f> {
    examination: &'e Examination,
    settings: &'e Settings,
    major: Major,
    findings: &'f mut Findings,
}

pub(super) fn check(examination: &Examination, findings: &mut Findings, coverage: &mut Coverage) -> String {
    let (settings, major) = (&examination.metadata.settings, examination.metadata.major);
    unreadable(&settings.unreadable, coverage);
    coverage.files += settings.files.len() as u64;
    let mut judge = Judge { examination, settings, major, findings };
    for error in &settings.errors {
        let finding = Finding::new(cfg::CONFIGURATION_ERROR, Place::path(&error.path), &error.message);
        judge
            .findings
            .push(error.line.into_iter().fold(finding, |finding, line| finding.measured("line", line)));
    }
    if settings.no_main_file {
        let root = examination.cluster().directory.join("postgresql.conf");
        let headline = "there is no postgresql.conf in the data directory";
        let finding = Finding::new(cfg::NO_CONFIGURATION, Place::path(root), headline);
        let last = settings.last_config_file.iter();
        let finding =
            last.fold(finding, |finding, path| finding.measured("config_file of the last start", path));
        judge.findings.push(finding);
    }
    // A server that cannot read its configuration gets no further.
    if settings.errors.is_empty() {
        judge.values();
        judge.safety();
        judge.place();
        judge.archiving();
        judge.recovery();
    }
    match settings.files.len() {
        0 => "no file has any".to_owned(),
        count => counted(count as u64, "configuration file", "configuration files"),
    }
}

impl Judge<'_, '_> {
    fn push(&mut self, code: &'static Code, name: &str, headline: impl Into<String>) {
        let finding = self.finding(code, name, headline);
        self.findings.push(finding);
    }

    /// The server's messages quote names from 17 on.
    fn named(&self, name: &str) -> String {
        if self.major >= Major::V17 { format!("\"{name}\"") } else { name.to_owned() }
    }

    /// At the line that has the setting, if one has it.
    fn finding(&self, code: &'static Code, name: &str, headline: impl Into<String>) -> Finding {
        match self.settings.get(name) {
            Some(setting) => Finding::new(code, Place::path(&setting.path), headline)
                .measured("line", setting.line)
                .measured("value", &setting.value),
            None => Finding::new(code, Place::path(self.examination.cluster().directory.root()), headline),
        }
    }

    /// Values that the server refuses, of the settings that are judged below.
    fn values(&mut self) {
        let is_refused = |name: &str, value: &str| {
            let value = value.to_ascii_lowercase();
            match WORDS.iter().find(|(known, _)| *known == name) {
                Some((_, words)) => {
                    !words.contains(&value.as_str()) && (name != "archive_mode" || boolean(&value).is_none())
                }
                None => boolean(&value).is_none(),
            }
        };
        for name in BOOLEANS.iter().chain(WORDS.iter().map(|(name, _)| name)) {
            let Some(setting) = self.settings.get(name).filter(|setting| is_refused(name, &setting.value))
            else {
                continue;
            };
            let headline = match BOOLEANS.contains(name) {
                true => format!("parameter \"{name}\" requires a Boolean value"),
                false => format!("invalid value for parameter \"{name}\": \"{}\"", setting.value),
            };
            self.push(cfg::BAD_VALUE, name, headline);
        }
        let lsn = self.settings.value("recovery_target_lsn");
        if !lsn.is_empty() && lsn.parse::<Lsn>().is_err() {
            let headline = format!("invalid value for parameter \"recovery_target_lsn\": \"{lsn}\"");
            self.push(cfg::BAD_VALUE, "recovery_target_lsn", headline);
        }
    }

    fn safety(&mut self) {
        for (name, unsafe_value) in UNSAFE {
            if self.settings.is_on(name, !unsafe_value) == *unsafe_value {
                let word = if *unsafe_value { "on" } else { "off" };
                self.push(cfg::UNSAFE, name, format!("{name} is {word}"));
            }
        }
    }

    /// Does the configuration belong to this directory?
    fn place(&mut self) {
        let Some(setting) = self.settings.get("data_directory").filter(|setting| !setting.value.is_empty())
        else {
            return;
        };
        let root = self.examination.cluster().directory.root();
        let same = match (root.canonicalize(), std::path::Path::new(&setting.value).canonicalize()) {
            (Ok(root), Ok(named)) => root == named,
            _ => false,
        };
        if !same {
            let headline = format!("data_directory is \"{}\", not this directory", setting.value);
            self.push(cfg::OTHER_DATA_DIRECTORY, "data_directory", headline);
        }
    }

    fn archiving(&mut self) {
        let settings = self.settings;
        let mode = settings.value("archive_mode");
        if !mode.eq_ignore_ascii_case("always") && boolean(mode) != Some(true) {
            return;
        }
        let (command, library) =
            (settings.value("archive_command").trim(), settings.value("archive_library"));
        if self.major >= Major::V15 && !library.is_empty() {
            if !command.is_empty() {
                let [first, second] = ["archive_command", "archive_library"].map(|name| self.named(name));
                self.push(cfg::TWO_ARCHIVERS, "archive_library", format!("both {first} and {second} set"));
            }
            return;
        }
        if command.is_empty() {
            return self.push(
                cfg::ARCHIVES_LATER,
                "archive_mode",
                "archive_mode is on and archive_command is not set",
            );
        }
        if DO_NOTHING.contains(&command) {
            let headline = format!("archive_command \"{command}\" keeps nothing");
            return self.push(cfg::ARCHIVES_NOTHING, "archive_command", headline);
        }
        let files = &self.examination.metadata.recovery;
        if files.has("standby.signal") || self.settings.is_on("standby_mode", false) {
            return;
        }
        // With a new timeline its segments at least have names of their own.
        let severity = match (self.is_signalled(), files.label.is_some()) {
            (true, _) => Severity::Note,
            (false, true) => cfg::COPY_ARCHIVES.severity,
            (false, false) => return,
        };
        let headline = "this copy will archive with the original's archive_command";
        let finding = self.finding(cfg::COPY_ARCHIVES, "archive_command", headline);
        self.findings.push(finding.with_severity(severity));
    }

    /// Will the start be an archive recovery or a standby?
    fn is_signalled(&self) -> bool {
        let files = &self.examination.metadata.recovery;
        match self.major >= Major::V12 {
            true => files.has("recovery.signal") || files.has("standby.signal"),
            false => files.has("recovery.conf"),
        }
    }

    fn recovery(&mut self) {
        let settings = self.settings;
        let targets: Vec<&str> =
            TARGETS.iter().copied().filter(|name| !settings.value(name).is_empty()).collect();
        if self.major >= Major::V12
            && let [_, .., last] = *targets
        {
            let finding = self.finding(cfg::SEVERAL_TARGETS, last, "multiple recovery targets specified");
            self.findings.push(finding.measured("set", targets.join(", ")));
        }
        self.timeline();
        let command = settings.value("restore_command").trim();
        if !self.is_signalled() {
            let left = targets.iter().copied().chain((!command.is_empty()).then_some("restore_command"));
            let left: Vec<&str> = left.collect();
            if let Some(name) = left.first() {
                let headline =
                    format!("{name} is set, but there is no signal file: nothing is recovered to it");
                // A server that is done with its recovery often keeps its restore_command.
                let waits = !targets.is_empty() || self.examination.metadata.recovery.label.is_some();
                let severity = if waits { cfg::TARGET_WITHOUT_SIGNAL.severity } else { Severity::Note };
                let finding = self.finding(cfg::TARGET_WITHOUT_SIGNAL, name, headline);
                self.findings.push(finding.with_severity(severity).measured("set", left.join(", ")));
            }
            return;
        }
        let files = &self.examination.metadata.recovery;
        let standby = match self.major >= Major::V12 {
            true => files.has("standby.signal"),
            false => settings.is_on("standby_mode", false),
        };
        let connects = !settings.value("primary_conninfo").trim().is_empty();
        match (standby, command.is_empty()) {
            // Without the main file nobody knows.
            (_, true) if settings.no_main_file && self.major >= Major::V12 => {}
            (true, true) if !connects => {
                let [first, second] = ["primary_conninfo", "restore_command"].map(|name| self.named(name));
                let headline = format!("specified neither {first} nor {second}");
                self.push(cfg::STANDBY_WITHOUT_SOURCE, "restore_command", headline);
            }
            (false, true) => {
                let headline = match self.major >= Major::V12 {
                    true => {
                        let name = self.named("restore_command");
                        format!("must specify {name} when standby mode is not enabled")
                    }
                    false => "recovery command file \"recovery.conf\" must specify restore_command when standby mode is not enabled".to_owned(),
                };
                let finding = self.finding(cfg::NO_RESTORE_COMMAND, "restore_command", headline);
                // Whoever names the archive knows that the command is still to be set.
                let is_named = matches!(&self.examination.foretold,
                    Foretold::Known(foresight) if foresight.start.has_restore_command);
                self.findings.push(if is_named { finding.with_severity(Severity::Warning) } else { finding });
            }
            (_, false) => {
                if let Some(missing) = ["%f", "%p"].iter().find(|part| !command.contains(**part)) {
                    let headline = format!("restore_command has no {missing}");
                    self.push(cfg::RESTORE_COMMAND, "restore_command", headline);
                }
            }
            _ => {}
        }
    }

    fn timeline(&mut self) {
        let Some(setting) = self.settings.get("recovery_target_timeline") else { return };
        let value = setting.value.clone();
        match target_timeline(&value, self.major) {
            Some(TargetTimeline::Number(number)) if number.to_string() != value => {
                let headline = format!("recovery_target_timeline '{value}' is timeline {number}");
                self.push(cfg::TIMELINE_NUMBER, "recovery_target_timeline", headline);
            }
            Some(_) => {}
            None => {
                let headline =
                    format!("invalid value for parameter \"recovery_target_timeline\": \"{value}\"");
                self.push(cfg::BAD_VALUE, "recovery_target_timeline", headline);
            }
        }
    }
}
