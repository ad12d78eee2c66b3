//! How far a long scan is: a bar on a terminal, plain lines now and then where there is none.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a line is written where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(5);

/// A known number of bytes, and how many are done; silent when nobody would see it.
///
/// Threads add to it as they go. It is cheap enough for one call per read of 256 kB, not per page.
#[derive(Clone, Debug)]
pub struct Progress(Option<Shown>);

#[derive(Clone, Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines(Arc<Lines>),
}

/// Progress without a terminal: nothing is ever drawn over, so every line stands by itself.
#[derive(Debug)]
struct Lines {
    what: &'static str,
    total: u64,
    done: AtomicU64,
    last: Mutex<Instant>,
}

impl Lines {
    fn print(&self) {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total);
        let percent = (done * 100).checked_div(total).unwrap_or(100).min(100);
        // Nobody is left to tell if standard error is closed.
        let _ = writeln!(
            std::io::stderr(),
            "{}: {}/{} MB ({percent}%)",
            self.what,
            done >> 20,
            total.max(done) >> 20
        );
    }
}

impl Progress {
    /// Would [`bytes`](Self::bytes) show anything? Counting the total can cost time of its own.
    pub fn is_shown(forced: bool) -> bool {
        forced || std::io::stderr().is_terminal()
    }

    /// For `total` bytes of `what`. `forced` shows it even when standard error is no terminal.
    pub fn bytes(what: &'static str, total: u64, forced: bool) -> Progress {
        if !Progress::is_shown(forced) {
            return Progress::hidden();
        }
        if !std::io::stderr().is_terminal() {
            let (done, last) = (AtomicU64::new(0), Mutex::new(Instant::now()));
            return Progress(Some(Shown::Lines(Arc::new(Lines { what, total, done, last }))));
        }
        let target = ProgressDrawTarget::stderr_with_hz(5);
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
        let template =
            "{msg}: {binary_bytes}/{binary_total_bytes} ({percent}%) {binary_bytes_per_sec} eta {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress(Some(Shown::Bar(bar)))
    }

    /// Shows nothing.
    pub fn hidden() -> Progress {
        Progress(None)
    }

    /// Adds bytes that are done.
    pub fn add(&self, bytes: u64) {
        match &self.0 {
            None => {}
            Some(Shown::Bar(bar)) => bar.inc(bytes),
            Some(Shown::Lines(lines)) => {
                lines.done.fetch_add(bytes, Ordering::Relaxed);
                // Another thread that is just looking at the clock will do.
                if let Ok(mut last) = lines.last.try_lock()
                    && last.elapsed() >= BETWEEN_LINES
                {
                    *last = Instant::now();
                    lines.print();
                }
            }
        }
    }

    /// Removes the bar, so that the report stands alone; without a terminal, writes the last line.
    pub fn finish(&self) {
        match &self.0 {
            None => {}
            Some(Shown::Bar(bar)) => bar.finish_and_clear(),
            Some(Shown::Lines(lines)) => lines.print(),
        }
    }
}
