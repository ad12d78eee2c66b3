//! The values one by one.

use super::basis::Basis;
use super::guess::newest_name;
use super::value::{Certainty, Field, Value, Witness};
use crate::format::control::ControlFile;
use crate::format::slru::Slru;
use crate::pg::ids::{FIRST_NORMAL_OBJECT_ID, FIRST_NORMAL_TRANSACTION_ID};
use crate::pg::{Lsn, Major, WalSegSize};
use crate::scan::cluster::{ClusterWalk, Target};
use crate::scan::control_wal::is_after;
use crate::scan::page_rules::Rules;

/// All of them, in the order of the command line.
pub(super) fn values(basis: &Basis, major: Major) -> Vec<Value> {
    let counters = Counters { basis, major };
    let xid = counters.next_xid();
    let epoch = counters.epoch(&xid);
    let mut values = vec![xid, epoch, counters.oldest_xid()];
    let [next_multi, next_offset] = counters.multixacts();
    values.extend([next_multi, counters.oldest_multi(), next_offset]);
    values.push(counters.next_oid());
    values.extend(counters.commit_timestamps());
    values.push(counters.next_wal_segment());
    values.push(counters.segment_size());
    values.extend(counters.char_signedness());
    values
}

struct Counters<'b, 'a> {
    basis: &'b Basis<'a>,
    major: Major,
}

/// In the circle of 32 bits.
fn after32(a: u64, b: u64) -> bool {
    is_after(a as u32, b as u32)
}

fn witness(value: impl Into<u64>, source: impl Into<String>) -> Witness {
    Witness { value: value.into(), source: source.into() }
}

impl Counters<'_, '_> {
    fn record(&self, name: &str, lsn: Lsn) -> String {
        format!("{name} at {}", lsn.text(self.major))
    }

    /// What the newest checkpoint record and pg_control say of a field of the checkpoint.
    fn checkpoints(&self, of: impl Fn(&crate::format::checkpoint::CheckPoint) -> u64) -> Vec<Witness> {
        let mut witnesses = Vec::new();
        if let Some(newest) = self.basis.newest() {
            witnesses.push(witness(of(&newest.body), self.record(newest.name(), newest.lsn)));
        }
        if let Some(control) = &self.basis.control {
            let at = self.record("pg_control, checkpoint", control.check_point);
            witnesses.push(witness(of(&control.check_point_copy), at));
        }
        witnesses
    }

    /// Weighs what the WAL and pg_control say against what is found elsewhere, and falls back on the file names.
    fn weigh(
        &self,
        field: Field,
        logged: Vec<Witness>,
        found: Vec<Witness>,
        rule: Option<Witness>,
        after: impl Fn(u64, u64) -> bool + Copy,
    ) -> Value {
        let exact = Value::furthest(field, logged.clone(), Certainty::Exact, after);
        let all: Vec<_> = logged.into_iter().chain(found).collect();
        if self.basis.is_exact() && exact.value.is_some() {
            let furthest = Value::furthest(field, all.clone(), Certainty::Bound, after);
            if furthest.value == exact.value {
                return Value { certainty: Certainty::Exact, ..furthest };
            }
        }
        if self.basis.pages_are_read() {
            // No row holds a position of members.
            if field == Field::NextMultiOffset {
                return Value::furthest(field, all, Certainty::Bound, after);
            }
            // More transaction ids cost nothing. A multixact is only read with the number that follows it, so there the
            // number must be the next one.
            let rule = rule.filter(|_| field == Field::NextXid);
            let all = all.into_iter().chain(rule).collect();
            return Value::furthest(field, all, Certainty::Safe, after);
        }
        match rule {
            Some(rule) => {
                let all = all.into_iter().chain([rule]).collect();
                Value::furthest(field, all, Certainty::FileNames, after)
            }
            None => Value::furthest(field, all, Certainty::Bound, after),
        }
    }

    /// The first number of the file behind the newest one.
    fn behind_files(&self, slru: Slru, first: u64) -> Option<Witness> {
        let end = self.basis.slru(slru)?;
        let (behind, newest) = (end.behind()?, end.newest()?);
        Some(witness(behind.max(first), format!("first number behind {newest}")))
    }

    /// The first number of the oldest file.
    fn first_of_files(&self, slru: Slru, first: u64) -> Option<Witness> {
        let end = self.basis.slru(slru)?;
        let (start, oldest) = (end.first()?, end.oldest()?);
        Some(witness(start.max(first), format!("first number of {oldest}")))
    }

    fn next_xid(&self) -> Value {
        let basis = self.basis;
        let normal = |xid: u32| xid.max(FIRST_NORMAL_TRANSACTION_ID);
        let mut logged = self.checkpoints(|copy| copy.next_xid_low().into());
        if let Some((lsn, next)) = basis.chain().and_then(|chain| chain.found.next_xid) {
            logged.push(witness(next, self.record("record", lsn)));
        }
        let mut found = Vec::new();
        let prepared = basis.prepared.xids.keys().copied();
        if let Some(newest) = prepared.reduce(|a, b| if is_after(b, a) { b } else { a }) {
            found.push(witness(normal(newest.wrapping_add(1)), format!("pg_twophase has {newest}")));
        }
        if let Some(end) = basis.slru(Slru::Xact)
            && let (Some(last), Some(newest)) = (end.last_set, end.newest())
        {
            let source = format!("{newest} has the status of {last}");
            found.push(witness(normal((last as u32).wrapping_add(1)), source));
        }
        if let Some(relations) = &basis.relations {
            found.extend(relations.next_xid(&|path| basis.short(path)));
        }
        let rule = self.behind_files(Slru::Xact, FIRST_NORMAL_TRANSACTION_ID.into());
        self.weigh(Field::NextXid, logged, found, rule, after32)
    }

    /// Where `xid` lies seen from a transaction id with its epoch.
    fn epoch(&self, xid: &Value) -> Value {
        let Some(low) = xid.value else { return Value::unknown(Field::NextXidEpoch) };
        let epoch = |full: u64| {
            let distance = i64::from((low as u32).wrapping_sub(full as u32) as i32);
            full.saturating_add_signed(distance) >> 32
        };
        let mut logged = self.checkpoints(|copy| epoch(copy.next_xid));
        let names = self.basis.prepared_names.iter();
        logged.extend(names.map(|(full, name)| witness(epoch(*full), format!("name of pg_twophase/{name}"))));
        let certainty = match xid.certainty {
            Certainty::Exact => Certainty::Exact,
            Certainty::Safe => Certainty::Safe,
            _ => Certainty::Bound,
        };
        Value::furthest(Field::NextXidEpoch, logged, certainty, |a, b| a > b)
    }

    /// An older one than the server had is safe.
    fn oldest(&self, field: Field, logged: Vec<Witness>, slru: Slru, first: u64) -> Value {
        let logged: Vec<_> = logged.into_iter().filter(|witness| witness.value >= first).collect();
        if !logged.is_empty() {
            let certainty = if self.basis.is_exact() { Certainty::Exact } else { Certainty::Bound };
            return Value::furthest(field, logged, certainty, after32);
        }
        match self.first_of_files(slru, first) {
            Some(rule) => Value::furthest(field, vec![rule], Certainty::FileNames, after32),
            None => Value::unknown(field),
        }
    }

    fn oldest_xid(&self) -> Value {
        let mut logged = self.checkpoints(|copy| copy.oldest_xid.into());
        if let Some((lsn, oldest)) = self.basis.chain().and_then(|chain| chain.found.oldest_xid) {
            logged.push(witness(oldest, self.record("CLOG TRUNCATE", lsn)));
        }
        self.oldest(Field::OldestXid, logged, Slru::Xact, FIRST_NORMAL_TRANSACTION_ID.into())
    }

    fn oldest_multi(&self) -> Value {
        let mut logged = self.checkpoints(|copy| copy.oldest_multi.into());
        if let Some((lsn, oldest)) = self.basis.chain().and_then(|chain| chain.found.oldest_multi) {
            logged.push(witness(oldest, self.record("MultiXact TRUNCATE_ID", lsn)));
        }
        self.oldest(Field::OldestMulti, logged, Slru::MultiXactOffset, 1)
    }

    /// The next multixact, and the next position of members: they belong together.
    fn multixacts(&self) -> [Value; 2] {
        let basis = self.basis;
        let wide = self.major >= Major::V19;
        let after_offset = move |a: u64, b: u64| if wide { a > b } else { after32(a, b) };
        let mut logged = self.checkpoints(|copy| copy.next_multi.into());
        let mut offsets = self.checkpoints(|copy| copy.next_multi_offset);
        if let Some((lsn, next, offset)) = basis.chain().and_then(|chain| chain.found.next_multi) {
            logged.push(witness(next, self.record("CREATE_ID", lsn)));
            offsets.push(witness(offset, self.record("CREATE_ID", lsn)));
        }
        let (mut found, mut found_offsets) = (Vec::new(), Vec::new());
        let members = basis.slru(Slru::MultiXactMember).filter(|end| !end.files.is_empty());
        let next_member = members.map(|end| match end.last_set {
            Some(last) if wide => last.saturating_add(1),
            Some(last) => u64::from((last as u32).wrapping_add(1)),
            None => u64::from(wide),
        });
        if let (Some(end), Some(next)) = (members, next_member)
            && let Some(newest) = end.newest()
        {
            let source = match end.last_set {
                Some(last) => format!("the last member in {newest} is {last}"),
                None => format!("no member in {newest}"),
            };
            found_offsets.push(witness(next, source));
        }
        if let Some(end) = basis.slru(Slru::MultiXactOffset)
            && let Some(newest) = end.newest()
        {
            // Newer minor releases write where the next one will begin, too.
            found.push(match end.last_set {
                None => witness(1u64, format!("no multixact in {newest}")),
                Some(last) if end.last_offset == next_member => {
                    witness(last.max(1), format!("{newest} goes on with {last}"))
                }
                Some(last) => {
                    let next = (last as u32).wrapping_add(1).max(1);
                    witness(next, format!("the last multixact in {newest} is {last}"))
                }
            });
        }
        if let Some(relations) = &basis.relations {
            found.extend(relations.next_multi(&|path| basis.short(path)));
        }
        let rule = self.behind_files(Slru::MultiXactOffset, 1);
        let offset_rule = self.behind_files(Slru::MultiXactMember, 0);
        [
            self.weigh(Field::NextMulti, logged, found, rule, after32),
            self.weigh(Field::NextMultiOffset, offsets, found_offsets, offset_rule, after_offset),
        ]
    }

    /// Recovery takes the newest of NEXTOID and checkpoints by their place, an online checkpoint's at its REDO.
    fn next_oid(&self) -> Value {
        let basis = self.basis;
        let logged = basis.chain().and_then(|chain| chain.found.next_oid);
        let nextoid = logged.map(|(lsn, oid)| (lsn, witness(oid, self.record("NEXTOID", lsn))));
        let newest = basis.newest().map(|found| {
            (found.body.redo, witness(found.body.next_oid, self.record(found.name(), found.lsn)))
        });
        if basis.is_exact() {
            let last = nextoid.clone().into_iter().chain(newest.clone()).max_by_key(|(lsn, _)| *lsn);
            let control = self.checkpoints(|copy| copy.next_oid.into()).pop();
            if let Some(decides) = last.map(|(_, witness)| witness).or(control) {
                return Value::furthest(Field::NextOid, vec![decides], Certainty::Exact, |a, b| a > b);
            }
        }
        let mut all = self.checkpoints(|copy| copy.next_oid.into());
        all.extend(nextoid.map(|(_, witness)| witness));
        all.extend(self.newest_file_number());
        Value::furthest(Field::NextOid, all, Certainty::Bound, |a, b| a > b)
    }

    /// Behind the largest number of a relation file.
    fn newest_file_number(&self) -> Option<Witness> {
        let target = Target::Cluster(self.basis.cluster.directory.root().to_owned());
        let rules = Rules::new(Some(self.basis.cluster), &target);
        let files = ClusterWalk::new(&target, rules.selection(None)).flat_map(|listing| listing.files);
        let numbers = files.filter_map(|file| {
            let name =
                file.name.filter(|name| !name.temporary && name.relnumber >= FIRST_NORMAL_OBJECT_ID)?;
            Some((name.relnumber, file.path))
        });
        let (number, path) = numbers.max_by_key(|(number, _)| *number)?;
        let next = u64::from(number.wrapping_add(1).max(FIRST_NORMAL_OBJECT_ID));
        Some(witness(next, format!("name of {}", self.basis.short(&path))))
    }

    /// Nothing where no commit timestamp is kept.
    fn commit_timestamps(&self) -> Vec<Value> {
        let basis = self.basis;
        let on_disk = basis.slru(Slru::CommitTs).and_then(|end| Some((end.last_set?, end.newest()?)));
        let mut oldest = self.checkpoints(|copy| copy.oldest_commit_ts_xid.into());
        oldest.retain(|witness| witness.value >= FIRST_NORMAL_TRANSACTION_ID.into());
        if on_disk.is_none() && oldest.is_empty() {
            return Vec::new();
        }
        if let Some((lsn, xid)) = basis.chain().and_then(|chain| chain.found.oldest_commit_ts) {
            oldest.push(witness(xid, self.record("CommitTs TRUNCATE", lsn)));
        }
        let mut newest = self.checkpoints(|copy| copy.newest_commit_ts_xid.into());
        newest.retain(|witness| witness.value >= FIRST_NORMAL_TRANSACTION_ID.into());
        if !newest.is_empty()
            && let Some((lsn, xid)) = basis.chain().and_then(|chain| chain.found.newest_commit)
        {
            newest.push(witness(xid, self.record("COMMIT", lsn)));
        }
        let found = on_disk.map(|(last, file)| witness(last, format!("the last entry in {file}")));
        let newest = self.weigh(Field::NewestCommitTsXid, newest, found.into_iter().collect(), None, after32);
        let first = FIRST_NORMAL_TRANSACTION_ID.into();
        vec![self.oldest(Field::OldestCommitTsXid, oldest, Slru::CommitTs, first), newest]
    }

    fn next_wal_segment(&self) -> Value {
        let basis = self.basis;
        let field = Field::NextWalSegment;
        // Positions count: the new WAL can have segments of any size.
        let size = basis.segment_size().unwrap_or(WalSegSize::DEFAULT);
        let behind = |lsn: Lsn| size.segno(lsn).saturating_add(1);
        let mut all = Vec::new();
        if let Some(newest) = newest_name(basis.cluster, size).filter(|newest| *newest > 0) {
            all.push(witness(newest.saturating_add(1), "names in pg_wal"));
        }
        if let Some(segno) = basis.chain().and_then(|chain| chain.files.segments.keys().next_back().copied())
        {
            all.push(witness(segno.saturating_add(1), "names in pg_wal and archives"));
        }
        if let Some(ControlFile { check_point, min_recovery_point, .. }) = &basis.control {
            all.push(witness(behind(*check_point), self.record("pg_control, checkpoint", *check_point)));
            if min_recovery_point.is_valid() {
                let at = self.record("pg_control, minimum recovery point", *min_recovery_point);
                all.push(witness(behind(*min_recovery_point), at));
            }
        }
        if let Some((lsn, path)) = basis.relations.as_ref().and_then(|relations| relations.lsn.as_ref()) {
            let source = format!("a page in {} has LSN {}", basis.short(path), lsn.text(self.major));
            all.push(witness(behind(*lsn), source));
        }
        let safe = basis.is_exact() || basis.pages_are_read();
        Value::furthest(field, all, if safe { Certainty::Safe } else { Certainty::Bound }, |a, b| a > b)
    }

    fn segment_size(&self) -> Value {
        let field = Field::WalSegSize;
        if let Some(control) = &self.basis.control {
            return Value::by(field, control.xlog_seg_size.into(), Certainty::Exact, "pg_control");
        }
        match self.basis.wal.votes() {
            Some((owner, votes)) => {
                let name = votes.example.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Value::by(field, owner.size.bytes(), Certainty::Exact, format!("header of {name}"))
            }
            None => Value::unknown(field),
        }
    }

    /// 18+.
    fn char_signedness(&self) -> Option<Value> {
        let field = Field::CharSignedness;
        (self.major >= Major::V18).then(|| {
            let stored = self.basis.control.as_ref().and_then(|control| control.default_char_signedness);
            match stored {
                Some(signed) => Value::by(field, signed.into(), Certainty::Exact, "pg_control"),
                None => Value::unknown(field),
            }
        })
    }
}
