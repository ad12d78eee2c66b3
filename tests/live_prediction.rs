//! `plan` against real recoveries: for random scenarios, every field of the prediction is what the server does.
//!
//! - `PGFORENSIC_SEED`: the seed; without it the clock, so that every run has fresh scenarios. It is printed.
//! - `PGFORENSIC_WORLD`: the seed of the worlds, if it is another one.
//! - `PGFORENSIC_SCENARIOS`: how many over all majors (200 without it).
//! - `PGFORENSIC_MAJORS`: only these, as `12,17`.
//! - `PGFORENSIC_SCENARIO`: only this one, a line as a disagreement prints it.
//! - `PGFORENSIC_WORLDS`: a directory in which worlds are kept for the next run; making one takes some seconds.
//! - `PGFORENSIC_KEEP`: a directory for the files of the scenarios that disagree, before and after the recovery.
//! - `PGFORENSIC_OBSERVE`: what the server did in each scenario is printed, and nothing is compared.
//!
//! `testdata/recovery/scenarios.txt` has the scenarios that run every time: those that once disagreed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "common/recovery/mod.rs"]
mod recovery;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::scene::shell;
use common::{Random, Server, servers, testdata_text};
use recovery::damage::Place;
use recovery::scenario::{self, Scenario};
use recovery::world::World;
use recovery::{compare, generate, observe, run, story};
use serde_json::Value;
use tempfile::TempDir;

/// What all workers share.
struct Check {
    client: Server,
    seed: u64,
    /// Of each major.
    scenarios: usize,
    worlds: Option<PathBuf>,
    keep: Option<PathBuf>,
    observe: bool,
    only: Option<String>,
    /// Text of each disagreement.
    disagreements: Mutex<Vec<String>>,
    /// How often each outcome and reason was seen.
    seen: Mutex<BTreeMap<String, usize>>,
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.trim().parse().ok()
}

#[test]
fn live_recoveries_are_what_we_predict() {
    let all = servers();
    let Some(client) =
        all.iter().rev().find(|server| server.has("psql") && server.has("pg_basebackup")).cloned()
    else {
        println!("skipped: no psql");
        return;
    };
    let only = std::env::var("PGFORENSIC_SCENARIO").ok();
    let majors = match &only {
        Some(line) => Some(scenario::majors(line)),
        None => std::env::var("PGFORENSIC_MAJORS")
            .ok()
            .map(|list| format!("major={list}"))
            .as_deref()
            .map(scenario::majors),
    };
    let mut servers = all;
    servers.retain(|server| majors.as_ref().is_none_or(|majors| majors.contains(&server.major)));
    let clock =
        || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() % 1_000_000;
    let seed = number("PGFORENSIC_SEED").unwrap_or_else(clock);
    let total = number("PGFORENSIC_SCENARIOS").unwrap_or(200) as usize;
    println!("PGFORENSIC_SEED={seed}");
    let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let check = Check {
        client,
        seed,
        scenarios: total.div_ceil(servers.len()),
        worlds: path("PGFORENSIC_WORLDS"),
        keep: path("PGFORENSIC_KEEP"),
        observe: std::env::var_os("PGFORENSIC_OBSERVE").is_some(),
        only,
        disagreements: Mutex::default(),
        seen: Mutex::default(),
    };
    // Two servers at a time.
    let workers = if servers.len() == 1 { 2 } else { 1 };
    let queue = Mutex::new(servers);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some(server) = queue.lock().unwrap().pop() else { return };
                    check.major(&server, workers);
                }
            });
        }
    });
    for (what, times) in check.seen.lock().unwrap().iter() {
        println!("{times:>5} {what}");
    }
    let disagreements = check.disagreements.into_inner().unwrap();
    assert!(
        disagreements.is_empty(),
        "{} disagreements, seed {seed}:\n{}",
        disagreements.len(),
        disagreements.join("\n")
    );
}

impl Check {
    /// The scenarios of one major, in its world.
    fn major(&self, server: &Server, workers: usize) {
        let begin = std::time::Instant::now();
        let scratch = self.scratch();
        let seed = number("PGFORENSIC_WORLD").unwrap_or(self.seed);
        let world = self.world(server, seed, scratch.path());
        let made = begin.elapsed();
        let scenarios = Mutex::new(self.list(&world));
        let number = scenarios.lock().unwrap().len();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let Some(scenario) = scenarios.lock().unwrap().pop() else { return };
                        if scenario.world == world.seed {
                            self.scenario(&world, &scenario);
                        } else {
                            let scratch = self.scratch();
                            let other = self.world(server, scenario.world, scratch.path());
                            self.scenario(&other, &scenario);
                        }
                    }
                });
            }
        });
        println!(
            "PostgreSQL {}: world in {:.1} s, {number} scenarios in {:.1} s",
            server.major,
            made.as_secs_f64(),
            (begin.elapsed() - made).as_secs_f64()
        );
    }

    /// A directory for a server, in memory if there is such a place: most of the time goes into copying.
    fn scratch(&self) -> TempDir {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory } else { Path::new("/tmp") };
        let directory = tempfile::Builder::new().prefix("pgf").tempdir_in(parent).unwrap();
        if common::is_root() {
            shell(directory.path(), "chown postgres .");
        }
        directory
    }

    /// A world of this seed: a kept one, or a new one.
    fn world(&self, server: &Server, seed: u64, scratch: &Path) -> World {
        let Some(worlds) = &self.worlds else {
            return story::make(server, &self.client, seed, scratch);
        };
        let directory = worlds.join(format!("{}-{seed}", server.major));
        World::load(server, &self.client, &directory).unwrap_or_else(|| {
            fs::create_dir_all(&directory).unwrap();
            let owner = scratch.display();
            shell(
                worlds,
                &format!("rm -rf {0} && mkdir {0} && chown --reference={owner} {0}", directory.display()),
            );
            story::make(server, &self.client, seed, &directory)
        })
    }

    /// The fixed scenarios and the fresh ones, the first one last.
    fn list(&self, world: &World) -> Vec<Scenario> {
        let major = world.server.major;
        let fixed = |line: &str| -> Option<Scenario> {
            scenario::majors(line).contains(&major).then(|| Scenario::parse(line, world))
        };
        if let Some(line) = &self.only {
            return fixed(line).into_iter().collect();
        }
        let text = testdata_text("recovery/scenarios.txt");
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let mut scenarios: Vec<Scenario> = lines.filter_map(fixed).collect();
        let mut random = Random((self.seed + 7).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(major) << 32);
        scenarios.extend((0..self.scenarios).map(|_| generate::scenario(world, &mut random)));
        scenarios.reverse();
        scenarios
    }

    /// One scenario: the prediction, the recovery, the comparison.
    fn scenario(&self, world: &World, scenario: &Scenario) {
        let scratch = self.scratch();
        let place = Place { world, directory: scratch.path().to_owned() };
        place.lay_out(scenario);
        let predicted = (!self.observe).then(|| compare::predict(&place, scenario));
        let recovery = run::run(&place, scenario);
        let observed = observe::fields(world, scenario, &recovery);
        let word = |name: &str| observed.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        let what = format!("{} {}", word("outcome"), word("stop_reason"));
        *self.seen.lock().unwrap().entry(what).or_default() += 1;
        // Data are not played: a page that is newer than what is left of the WAL shows when it is written.
        if recovery.log.contains("xlog flush request") {
            println!("not compared, data are newer than the WAL: {scenario}");
            return;
        }
        let Some(predicted) = predicted else {
            println!("{scenario}\n{}{}", Value::Object(observed), self.log(&recovery));
            return;
        };
        let rows = compare::disagreements(&observed, &predicted, &recovery);
        if rows.is_empty() {
            return;
        }
        let mut text = format!("DISAGREES: {scenario}\n{}", compare::side_by_side(&rows));
        text += &self.log(&recovery);
        if let Some(keep) = &self.keep {
            self.keep(keep, world, scenario, scratch.path(), &mut text);
        }
        println!("{text}");
        self.disagreements.lock().unwrap().push(text);
    }

    fn log(&self, recovery: &run::Recovery) -> String {
        let mut text = String::new();
        // Some say the same for ever.
        for line in recovery.log.lines().filter(|line| !line.trim_start().is_empty()).take(60) {
            write!(text, "\n    | {line}").unwrap();
        }
        text + "\n"
    }

    /// The files as the server left them, and once more as they were before.
    fn keep(&self, keep: &Path, world: &World, scenario: &Scenario, scratch: &Path, text: &mut String) {
        let count = self.disagreements.lock().unwrap().len() + 1;
        let into = keep.join(format!("{}-{}-{count}", world.server.major, world.seed));
        shell(
            scratch,
            &format!(
                "rm -rf {0} && mkdir -p {0}/before && cp -a {1} {0}/after",
                into.display(),
                scratch.display()
            ),
        );
        let place = Place { world, directory: into.join("before") };
        place.lay_out(scenario);
        fs::write(into.join("disagreement.txt"), &text).unwrap();
        writeln!(text, "  kept in {}", into.display()).unwrap();
    }
}
