//! `sctl start --atomic`: all units come up, or what was started is stopped again.
//!
//! The manager does it in one transaction and rolls back by itself, whatever becomes of us. If it is
//! replaced meanwhile the request is sent again: the same units are the same start, as long as that
//! has not ended.

use crate::jobs::{self, Watched};
use crate::style::Paint;
use crate::{Fault, Run, exit, json};
use units::state::{JobMode, JobResult, JobVerb};
use units::wire::control::{Reply, Request};

/// Why it was rolled back.
pub struct Undone {
    /// The unit that did not come up.
    pub unit: String,
    /// How its start ended.
    pub result: JobResult,
    /// A sentence on why; may be empty.
    pub detail: String,
    /// What was stopped again.
    pub stopped: Vec<String>,
}

/// Starts these units, or none.
pub fn start(run: &mut Run<'_, '_>, units: Vec<String>, mode: JobMode) -> Result<i32, Fault> {
    if units.is_empty() {
        return Err(Fault::new(exit::NOT_INSTALLED, "no loaded unit matches"));
    }
    let wait = !run.options.no_block;
    let request = Request::Atomic { units, mode, wait };
    let mut watched: Vec<Watched> = Vec::new();
    let mut undone = None;
    let mut take = |reply| match reply {
        Reply::Undone {
            unit,
            result,
            detail,
            stopped,
        } => {
            undone = Some(Undone {
                unit,
                result,
                detail,
                stopped,
            });
        }
        other => jobs::take(other, &mut watched),
    };
    let mut whole = false;
    for _ in 0..jobs::MANAGERS {
        whole = jobs::attend(run, &request, &mut take)?;
        if whole {
            break;
        }
    }
    if !whole {
        return Err(jobs::many_managers());
    }
    if run.options.json {
        run.print(&json::atomic(&watched, undone.as_ref()));
    }
    let Some(undone) = undone else {
        return Ok(exit::OK);
    };
    if !run.options.json {
        tell(run, &undone);
    }
    Ok(exit::FAILURE)
}

fn tell(run: &mut Run<'_, '_>, undone: &Undone) {
    jobs::report(
        run,
        &undone.unit,
        JobVerb::Start,
        undone.result,
        &undone.detail,
    );
    let text = if undone.stopped.is_empty() {
        "nothing had to be stopped for it".to_owned()
    } else {
        ["stopped again: ", &undone.stopped.join(", ")].concat()
    };
    let head = run.error_style().paint(Paint::Busy, "rolled back");
    let _ = writeln!(run.screen.err, "  {head}: {text}");
}
