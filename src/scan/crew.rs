//! Threads that have nothing of their own to do help others with large work.
//!
//! Relations are examined side by side, one thread each. Towards the end a few large ones are left: then what they have
//! to do with many pages is shared with the threads that are done.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Parts that a thread takes at least: fewer are done before it has started.
const LEAST: usize = 16;

/// How many threads are at leisure.
#[derive(Debug, Default)]
pub struct Crew {
    idle: AtomicUsize,
}

impl Crew {
    /// Everybody has work of their own.
    pub fn begin(&self) {
        self.idle.store(0, Ordering::Relaxed);
    }

    /// A thread has nothing to do any more.
    pub fn at_leisure(&self) {
        self.idle.fetch_add(1, Ordering::Relaxed);
    }

    /// Does the same with each of many, and says what came out in their order.
    pub fn share<T: Sync, R: Send>(&self, all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let wanted = (all.len() / LEAST).saturating_sub(1);
        let take = |idle: usize| Some(idle - idle.min(wanted));
        let idle = self.idle.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
        let helpers = idle.min(wanted);
        let each = all.len().div_ceil(helpers + 1).max(1);
        let work = &work;
        let mut done = Vec::with_capacity(all.len());
        std::thread::scope(|scope| {
            let mut parts = all.chunks(each);
            let own = parts.next().unwrap_or_default();
            let others: Vec<_> =
                parts.map(|part| scope.spawn(move || part.iter().map(work).collect::<Vec<R>>())).collect();
            done.extend(own.iter().map(work));
            for other in others {
                match other.join() {
                    Ok(results) => done.extend(results),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
        });
        self.idle.fetch_add(helpers, Ordering::Relaxed);
        done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stay_in_order() {
        let all: Vec<usize> = (0..1000).collect();
        for idle in [0, 1, 3, 200] {
            let crew = Crew::default();
            (0..idle).for_each(|_| crew.at_leisure());
            assert_eq!(crew.share(&all, |n| n + 1), (1..=1000).collect::<Vec<_>>());
            assert_eq!(crew.idle.load(Ordering::Relaxed), idle);
            assert!(crew.share(&[] as &[usize], |n| n + 1).is_empty());
        }
    }
}
