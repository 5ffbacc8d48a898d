//! What is counted.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// A service is another process, or in another state, than anybody asked for.
    Disturbed,
    /// A connection was not taken, or not answered.
    Refused,
    /// A process of a service ended and nobody did what follows from it, or it was not known how it ended.
    Unseen,
    /// Two processes of one service at a time.
    Doubles,
    /// A step ran a second time for the same invocation or request.
    Twice,
    /// A request that was not carried out, or failed for a reason of ours.
    JobsLost,
    /// Something a service said that nobody heard.
    NotificationsLost,
    /// A descriptor a service had deposited and did not get back.
    DescriptorsLost,
    /// A version of ours that is good was not installed, or one that is not was not taken back.
    Versions,
    /// Nobody managed anything for twenty seconds.
    Unmanaged,
}

const ALL: [(Count, &str); 10] = [
    (Count::Disturbed, "services disturbed"),
    (Count::Refused, "connections refused"),
    (Count::Unseen, "exits unseen"),
    (Count::Doubles, "double instances"),
    (Count::Twice, "steps run twice"),
    (Count::JobsLost, "jobs lost"),
    (Count::NotificationsLost, "notifications lost"),
    (Count::DescriptorsLost, "descriptors lost"),
    (Count::Versions, "versions misjudged"),
    (Count::Unmanaged, "not managed again"),
];

/// The counters, and what else is told at the end.
#[derive(Default)]
pub struct Tally {
    counts: [AtomicUsize; ALL.len()],
    /// How often something was done that might have gone wrong.
    done: Mutex<Vec<(&'static str, usize)>>,
    managed: Mutex<Vec<Duration>>,
}

impl Tally {
    /// It has happened; `what` is for people.
    pub fn add(&self, count: Count, what: &str) {
        println!("{count:?}: {what}");
        if let Some(counter) = self.counts.get(count as usize) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How often it has.
    pub fn get(&self, count: Count) -> usize {
        self.counts
            .get(count as usize)
            .map_or(0, |counter| counter.load(Ordering::SeqCst))
    }

    /// Something was done this often.
    pub fn did(&self, what: &'static str, times: usize) {
        let mut done = self.done.lock().expect("no panic");
        match done.iter_mut().find(|(known, _)| *known == what) {
            Some((_, count)) => *count += times,
            None => done.push((what, times)),
        }
    }

    /// Everything was managed again after so long.
    pub fn managed_after(&self, time: Duration) {
        self.managed.lock().expect("no panic").push(time);
    }

    /// Whether anything has happened.
    pub fn failed(&self) -> bool {
        ALL.iter().any(|(count, _)| self.get(*count) > 0)
    }

    /// The counters that are not zero, in words.
    pub fn moved(&self) -> Vec<String> {
        let moved = ALL.iter().filter(|(count, _)| self.get(*count) > 0);
        moved
            .map(|(count, name)| format!("{name} {}", self.get(*count)))
            .collect()
    }

    /// The report.
    pub fn print(&self) {
        for (what, times) in self.done.lock().expect("no panic").iter() {
            println!("{what:22} {times}");
        }
        println!("----");
        for (count, name) in ALL {
            println!("{name:22} {}", self.get(count));
        }
        println!("{:22} no log helper yet", "log lines lost");
        let mut times = self.managed.lock().expect("no panic").clone();
        times.sort();
        let at = |share: usize| {
            times.get((times.len() * share / 100).min(times.len().saturating_sub(1)))
        };
        let ms = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
        println!(
            "{:22} median {} ms, p99 {} ms, max {} ms",
            "time until managed",
            ms(at(50)),
            ms(at(99)),
            ms(times.last())
        );
    }
}
