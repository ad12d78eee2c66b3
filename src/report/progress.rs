//! How far a long scan is: a bar on standard error while it is a terminal, or when asked for.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over a known number of bytes; silent when nobody would see it.
///
/// Threads add to it as they go. It is cheap enough for one call per read of 256 kB, not per page.
#[derive(Clone, Debug)]
pub struct Progress(Option<ProgressBar>);

impl Progress {
    /// A bar for `total` bytes of `what`. `forced` draws it even when standard error is no terminal.
    pub fn bytes(what: &'static str, total: u64, forced: bool) -> Progress {
        if !forced && !std::io::stderr().is_terminal() {
            return Progress(None);
        }
        let target = ProgressDrawTarget::stderr_with_hz(5);
        let bar = ProgressBar::with_draw_target(Some(total), target).with_message(what);
        let template =
            "{msg}: {binary_bytes}/{binary_total_bytes} ({percent}%) {binary_bytes_per_sec} eta {eta}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        Progress(Some(bar))
    }

    /// A bar that is never drawn.
    pub fn hidden() -> Progress {
        Progress(None)
    }

    /// Adds bytes that are done.
    pub fn add(&self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    /// Removes the bar, so that the report stands alone.
    pub fn finish(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
