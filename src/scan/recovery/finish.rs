//! From the first record to the end of a start.

use super::begin::Beginning;
use super::directories::{COMMIT_TS, EARLY_DIRECTORIES};
use super::history;
use super::pages::ServerPages;
use super::replay::{Last, Replay, Stop};
use super::words::{Outcome, StopReason};
use super::{Action, End, Limits, Prediction, Recovery};
use crate::pg::{Lsn, Major, TimelineId, WalFileName};
use crate::scan::wal_walk::{Item, Visitor, WalFault, Walk, skip_page_header};

/// A limit that is none.
const FAR: Lsn = Lsn(u64::MAX);

/// Takes the end of one record.
struct EndOf(Option<Lsn>);

impl Visitor for EndOf {
    fn visit(&mut self, item: Item) -> bool {
        if let Item::Record { end, .. } = item {
            self.0 = Some(end);
        }
        false
    }
}

/// How replay came to its end.
struct Ended {
    reason: StopReason,
    message: Option<String>,
    at_target: bool,
}

impl Recovery<'_> {
    /// Plays it from pg_control on.
    pub(super) fn run(&mut self, prediction: &mut Prediction) -> Result<(), End> {
        let control = &self.control;
        let timeline = control.min_recovery_point_timeline.max(control.check_point_copy.this_timeline);
        self.check_settings()?;
        // The postmaster empties the first before it starts anything; that of 10 looks for temporary files then.
        self.check_directories(&["pg_notify"], false)?;
        if self.kind.major == Major::V10 {
            self.check_directories(&["pg_tblspc"], false)?;
        }
        self.check_directories(&["pg_wal"], false)?;
        self.target_timeline = self.choose_timeline(timeline)?;

        let this = &*self;
        let mut pages = ServerPages::new(this.kind, &this.files, &this.shared, this.target_timeline);
        pages.is_standby = this.start.standby_signal;
        let begin = this.init(&mut pages)?;
        this.check_directories(&["pg_replslot"], begin.needs_recovery)?;
        if !begin.needs_recovery {
            this.check_directories(&[COMMIT_TS], false)?;
            this.check_directories(EARLY_DIRECTORIES, false)?;
            this.check_first_reads(&begin.checkpoint)?;
            prediction.outcome = Outcome::Started;
            prediction.end_of_recovery = Some(begin.checkpoint_end);
            prediction.end_timeline = Some(begin.checkpoint.this_timeline);
            return Ok(());
        }
        // Up to 14 the histories come first.
        let label_first = this.kind.major >= Major::V15;
        if label_first {
            this.check_label(&begin)?;
        }
        // `StartupCommitTs` makes the file of the next transaction.
        this.check_directories(&[COMMIT_TS], true)?;
        this.restore_histories(begin.checkpoint.this_timeline);
        if !label_first {
            this.check_label(&begin)?;
        }
        this.check_directories(EARLY_DIRECTORIES, true)?;
        let mut replay = this.replay(&begin, pages.expected.clone().unwrap_or_default());
        replay.check_parameters(this.control.wal_level, &Limits::of_control(&this.control))?;
        let ended = this.replay_all(&begin, &mut pages, &mut replay);
        tell(prediction, &replay, this);
        this.finish(prediction, &begin, &mut pages, &replay, ended?)
    }

    /// Files and settings that a start with a signal file insists on.
    fn check_settings(&self) -> Result<(), End> {
        let refused = |message: &str| Err(End::refused(StopReason::BadSetting, message));
        let old = self.kind.major < Major::V12;
        if !old && self.start.directory.join("recovery.conf").exists() {
            return refused("using recovery command file \"recovery.conf\" is not supported");
        }
        let needs_command = self.archive_requested && !self.start.standby_signal;
        if needs_command && !self.start.has_restore_command {
            let file = if old { "recovery command file \"recovery.conf\" " } else { "" };
            return refused(&format!("{file}must specify restore_command when standby mode is not enabled"));
        }
        Ok(())
    }

    /// The main loop of `PerformWalRecovery`, and `ReadRecord`.
    fn replay_all(
        &self,
        begin: &Beginning,
        pages: &mut ServerPages,
        replay: &mut Replay,
    ) -> Result<Ended, End> {
        replay.check_consistency();
        let redo = self.redo(begin);
        let (mut at, mut prev) = if redo < begin.checkpoint_at {
            self.shared.random.set(true);
            // Where it is the begin of a page, the server goes to the first record of that.
            (skip_page_header(&self.kind, redo), None)
        } else {
            (skip_page_header(&self.kind, begin.position.1), Some(begin.position.0))
        };
        if let Some(lookahead) = &mut replay.lookahead {
            lookahead.begin = prev.is_none().then_some(at);
        }
        let mut foreign = None;
        loop {
            let walked = Walk::new(self.kind, pages, FAR, FAR).run(at, prev, false, replay);
            if let Some(end) = pages.halt.take() {
                return Err(end);
            }
            // What was met while reading ahead is not told before replay comes there, and a file or a page that is
            // not there is looked for once more then.
            if replay.stop.is_none()
                && replay.drain()
                && replay.stop.is_none()
                && matches!(walked.fault, Some(WalFault::NoPage { .. } | WalFault::ShortPage { .. }))
                && !pages.has_fault_of_first_page()
            {
                let (last, end) = replay.read_to();
                at = skip_page_header(&self.kind, end);
                prev = last.or(prev);
                continue;
            }
            let mut passed = None;
            let (reason, message) = match replay.stop.take() {
                Some(Stop::Target(message)) => {
                    // What was met while reading ahead does not count any more.
                    pages.forget_fault();
                    return Ok(Ended {
                        reason: StopReason::TargetReached,
                        message: Some(message),
                        at_target: true,
                    });
                }
                Some(Stop::End(end)) => return Err(end),
                Some(Stop::Foreign { page, timeline }) => {
                    passed = replay.passed;
                    foreign = Some(self.foreign(page, timeline));
                    (StopReason::UnexpectedPageTli, foreign.clone())
                }
                None => {
                    let fault = pages.fault_behind(walked.fault.unwrap_or(WalFault::NoPage { page: at }));
                    match foreign.take().filter(|_| self.is_silent(&fault)) {
                        Some(message) => (StopReason::UnexpectedPageTli, Some(message)),
                        None => (StopReason::of(&fault), self.say(&fault)),
                    }
                }
            };
            if let Some((_, end)) = passed
                && self.start.standby_signal
            {
                // It tries one record after the other, until one cannot be read.
                self.ask_archive(pages, replay, end);
                replay.passes_on = true;
                replay.drain();
                let (last, end) = replay.read_to();
                (prev, at) = (last, skip_page_header(&self.kind, end));
                continue;
            }
            let again =
                passed.is_some_and(|(_, end)| self.fails_again(pages, replay, walked.fault.is_some(), end));
            if !again {
                pages.close();
            }
            self.shared.foreign.set(None);
            // The first record is read with PANIC in case of failure, if it lies before the checkpoint.
            if replay.first.is_none() && prev.is_none() && message.is_some() {
                return Err(End { outcome: Outcome::RefusedToStart, reason, message });
            }
            if self.archive_requested && !pages.in_archive {
                self.ask_archive(pages, replay, passed.map_or(replay.replayed_to, |(_, end)| end));
                // The server has read that record and tries the next one, which is no better.
                if passed.is_some() {
                    return Ok(Ended { reason, message, at_target: false });
                }
                at = skip_page_header(&self.kind, replay.replayed_to);
                prev = replay.last.map(|last| last.lsn).or(prev);
                continue;
            }
            return Ok(Ended { reason, message, at_target: false });
        }
    }

    /// All of pg_wal was read, to here: from now on the archive is asked.
    fn ask_archive(&self, pages: &mut ServerPages, replay: &mut Replay, read_to: Lsn) {
        if !pages.in_archive {
            pages.in_archive = true;
            replay.min_recovery_point = read_to;
            replay.min_recovery_point_timeline = replay.timeline;
            replay.check_consistency();
        }
    }

    /// Behind a record whose page is of a timeline that is not expected: can the next one be read without another
    /// page? Then the same is wrong with it, and the file stays open.
    fn fails_again(&self, pages: &mut ServerPages, replay: &Replay, at_fault: bool, next: Lsn) -> bool {
        if replay.lookahead.as_ref().is_some_and(|lookahead| !lookahead.queue.is_empty()) {
            return true;
        }
        let mut end = EndOf(None);
        if !at_fault {
            let at = skip_page_header(&self.kind, next);
            Walk::new(self.kind, pages, FAR, FAR).run(at, None, false, &mut end);
        }
        end.0.is_some()
    }

    /// Does the server take this for the end of WAL without a word?
    fn is_silent(&self, fault: &WalFault) -> bool {
        matches!(fault, WalFault::NoPage { .. })
            // The header of a page is tested, and forgotten what was wrong.
            || fault.is_of_page_header() && self.kind.major < Major::V12
    }

    pub(super) fn say(&self, fault: &WalFault) -> Option<String> {
        // Up to 11 the line ends with the last error that something else had.
        let unsure = matches!(fault, WalFault::ShortPage { .. }) && self.kind.major < Major::V12;
        (!self.is_silent(fault) && !unsure)
            .then(|| fault.message(&self.kind, self.shared.file_timeline.get()))
    }

    pub(super) fn foreign(&self, page: Lsn, timeline: TimelineId) -> String {
        let kind = &self.kind;
        let name = WalFileName::new(self.shared.file_timeline.get(), kind.size.segno(page), kind.size);
        let offset = kind.size.offset(page);
        if kind.major >= Major::V16 {
            let lsn = page.text(kind.major);
            format!("unexpected timeline ID {} in WAL segment {name}, LSN {lsn}, offset {offset}", timeline.0)
        } else {
            format!("unexpected timeline ID {} in log segment {name}, offset {offset}", timeline.0)
        }
    }

    /// What follows the last record: the target's action, `FinishWalRecovery`, the new timeline.
    fn finish(
        &self,
        prediction: &mut Prediction,
        begin: &Beginning,
        pages: &mut ServerPages,
        replay: &Replay,
        ended: Ended,
    ) -> Result<(), End> {
        let failed = |reason, message: &str| Err(End::new(Outcome::Failed, reason, message.to_owned()));
        prediction.stop_reason = Some(ended.reason);
        prediction.message = ended.message;
        if ended.at_target {
            if replay.consistent.is_none() {
                let message = "requested recovery stop point is before consistent recovery point";
                return failed(StopReason::StopBeforeConsistency, message);
            }
            let stays = match self.start.action {
                Action::Shutdown => true,
                // Nobody could end the pause of a server that takes no queries.
                Action::Pause => !replay.hot_standby || replay.takes_queries(),
                Action::Promote => false,
            };
            if stays {
                prediction.outcome = Outcome::StoppedAtTarget;
                return Ok(());
            }
        } else if self.start.standby_signal {
            prediction.outcome = Outcome::WaitsAsStandby;
            return Ok(());
        } else if self.archive_requested && replay.target.is_some() && self.kind.major >= Major::V13 {
            let message = "recovery ended before configured recovery target was reached";
            return failed(StopReason::TargetNotReached, message);
        }

        let (last, end) = replay
            .last
            .map_or((begin.checkpoint_at, begin.checkpoint_end), |last| (last.lsn, replay.replayed_to));
        let end_of_log = self.read_last(pages, last, end)?;
        if (end_of_log < replay.min_recovery_point || replay.backup_start_point.is_valid())
            && (self.archive_requested || replay.backup_end_required)
        {
            return if replay.backup_start_point.is_valid() || replay.backup_end_required {
                failed(StopReason::BackupEndNotReached, "WAL ends before end of online backup")
            } else {
                failed(StopReason::ConsistencyNotReached, "WAL ends before consistent recovery point")
            };
        }
        if !self.archive_requested {
            self.check_late_directories(replay)?;
            prediction.outcome = Outcome::Started;
            return Ok(());
        }
        replay.read_prepared(replay.timeline)?;
        let newest = history::newest(&self.files, self.target_timeline);
        prediction.new_timeline = newest.0.checked_add(1).map(TimelineId);
        // The new timeline's history begins with that of the target.
        self.files.restore(&self.target_timeline.history_file_name(), u64::MAX);
        // Prepared transactions are taken over: 15 reads them by way of the old timeline, later ones of the new one.
        match prediction.new_timeline {
            Some(new) if self.kind.major >= Major::V16 => replay.read_prepared_before(new, end_of_log)?,
            _ if self.kind.major == Major::V15 => replay.read_prepared(replay.timeline)?,
            _ => {}
        }
        self.check_late_directories(replay)?;
        prediction.outcome = Outcome::Promoted;
        Ok(())
    }

    /// Reads the last record once more, from whatever file is found for it now; gives where the server goes on.
    fn read_last(&self, pages: &mut ServerPages, at: Lsn, replayed_to: Lsn) -> Result<Lsn, End> {
        self.shared.random.set(true);
        let mut end = EndOf(None);
        let walked = Walk::new(self.kind, pages, FAR, FAR).run(at, None, false, &mut end);
        if let Some(end) = pages.halt.take() {
            return Err(end);
        }
        if let Some((page, timeline)) = self.shared.foreign.get() {
            let message = Some(self.foreign(page, timeline));
            return Err(End { outcome: Outcome::Failed, reason: StopReason::UnexpectedPageTli, message });
        }
        if let Some(end) = end.0 {
            return Ok(end);
        }
        let fault = pages.fault_behind(walked.fault.unwrap_or(WalFault::NoPage { page: at }));
        if self.is_silent(&fault) {
            // Nothing is said, so nothing ends the start. Since 13 the place was set before the record was read.
            return Ok(if self.kind.major < Major::V13 { replayed_to } else { at });
        }
        let reason = StopReason::of(&fault);
        Err(End { outcome: Outcome::Failed, reason, message: self.say(&fault) })
    }
}

/// What replay came to, also if an error ended it.
fn tell(prediction: &mut Prediction, replay: &Replay, recovery: &Recovery) {
    prediction.redo_start = replay.first;
    prediction.consistent_lsn = replay.consistent;
    prediction.end_of_recovery = Some(replay.replayed_to);
    prediction.end_timeline = Some(replay.timeline);
    prediction.last_completed_transaction_time = replay.last_time;
    prediction.last_commit = replay.last_commit;
    prediction.commits = replay.commits;
    prediction.last_wal_file = replay.last.map(|Last { file: (timeline, segno), .. }| {
        WalFileName::new(timeline, segno, recovery.kind.size).to_string()
    });
}
