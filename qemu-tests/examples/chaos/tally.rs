//! What is counted.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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

/// A kind of version of which it is known why it takes long: ten seconds until it is noticed in a manager, five in
/// a helper.
pub const HANGS: &str = "a version that hangs";

/// What took longer than this is told by itself.
const LONG: Duration = Duration::from_secs(1);

/// The counters, and what else is told at the end.
#[derive(Default)]
pub struct Tally {
    counts: [AtomicUsize; ALL.len()],
    /// How often something was done that might have gone wrong.
    done: Mutex<Vec<(&'static str, usize)>>,
    /// The versions that were tried, since when, and until when.
    trials: Mutex<Vec<(&'static str, Instant, Option<Instant>)>>,
    managed: Mutex<BTreeMap<String, Vec<Duration>>>,
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

    /// Such a version is tried meanwhile.
    pub fn during<T>(&self, kind: &'static str, trial: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        self.trials
            .lock()
            .expect("no panic")
            .push((kind, began, None));
        let result = trial();
        if let Some(last) = self.trials.lock().expect("no panic").last_mut() {
            last.2 = Some(Instant::now());
        }
        result
    }

    /// Everything was managed again so long after the last of these blows. If a version was tried since the first,
    /// that may be why it took so long; one that hangs is. Whether it is plain why.
    pub fn managed_after(&self, time: Duration, struck: Instant, blows: &str) -> bool {
        let mut trials = self.trials.lock().expect("no panic");
        trials.retain(|(_, _, ended)| ended.is_none_or(|ended| ended > struck));
        let hangs = trials.iter().find(|(kind, ..)| *kind == HANGS);
        let tried = hangs.or(trials.last()).copied();
        drop(trials);
        if time > LONG {
            let tried = tried.map_or(String::new(), |(kind, began, _)| {
                format!("; {kind} was tried {} ms ago", began.elapsed().as_millis())
            });
            println!("managed after {} ms: {blows}{tried}", time.as_millis());
        }
        let class = match tried {
            Some((kind, ..)) => format!("with {kind}"),
            None if blows.contains(", ") => "several blows".into(),
            None => blows.into(),
        };
        let mut managed = self.managed.lock().expect("no panic");
        managed.entry(class).or_default().push(time);
        time <= LONG || tried.is_some_and(|(kind, ..)| kind == HANGS)
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
        println!("---- time until managed ----");
        let managed = self.managed.lock().expect("no panic");
        let all = managed.values().flatten().copied().collect();
        distribution("everything", all);
        for (class, times) in managed.iter() {
            distribution(class, times.clone());
        }
    }
}

/// One line of the times of one kind.
fn distribution(class: &str, mut times: Vec<Duration>) {
    times.sort();
    let last = times.len().saturating_sub(1);
    let at = |share: usize| times.get((times.len() * share / 100).min(last));
    let ms = |time: Option<&Duration>| time.map_or(0, Duration::as_millis);
    println!(
        "{class:36} {:5} times, median {} ms, p90 {} ms, p99 {} ms, max {} ms",
        times.len(),
        ms(at(50)),
        ms(at(90)),
        ms(at(99)),
        ms(times.last())
    );
}
