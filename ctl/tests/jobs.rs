//! Commands that change something: what is asked, what is waited for, what a dying manager costs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(missing_docs, dead_code, unreachable_pub)]

mod support;

use support::*;
use units::state::{JobMode, JobPast, JobResult, JobVerb, Whom};
use units::wire::control::{ErrorKind, JobLine, Reply, Request, ShutdownKind, UnitHistory};

fn jobs_of(request: &Request) -> (JobVerb, Vec<String>, JobMode, bool) {
    match request {
        Request::Jobs {
            verb,
            units,
            mode,
            wait,
        } => (*verb, units.clone(), *mode, *wait),
        other => panic!("{other:?}"),
    }
}

#[test]
fn start_waits_and_is_silent_when_all_is_well() {
    let fake = Fake::new(|_, _| {
        vec![
            queued("nginx.service", 7),
            Step::Say(Reply::Waiting(Vec::new())),
            ended("nginx.service", JobVerb::Start, JobResult::Done, ""),
        ]
    });
    let run = sctl(&fake, &["start", "nginx"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
    let asked = fake.requests();
    assert_eq!(
        jobs_of(&asked[0]),
        (
            JobVerb::Start,
            vec!["nginx.service".to_owned()],
            JobMode::Replace,
            true
        )
    );
}

#[test]
fn a_failed_job_is_status_one_and_says_why_and_where_to_look() {
    let fake = Fake::new(|_, _| {
        vec![
            queued("a.service", 1),
            queued("b.service", 2),
            ended("a.service", JobVerb::Start, JobResult::Done, ""),
            ended(
                "b.service",
                JobVerb::Start,
                JobResult::Failed,
                "ExecStart=/bin/b: exit status 3",
            ),
        ]
    });
    let run = sctl(&fake, &["start", "a", "b"]);
    assert_eq!(run.code, 1);
    assert_eq!(
        run.err,
        "b.service: start did not succeed: ExecStart=/bin/b: exit status 3\n  more: sctl why b.service\n"
    );
}

#[test]
fn json_tells_what_became_of_each_job() {
    let fake = Fake::new(|_, _| {
        vec![
            queued("a.service", 1),
            ended(
                "a.service",
                JobVerb::Start,
                JobResult::Dependency,
                "b.service failed",
            ),
        ]
    });
    let run = sctl(&fake, &["--json", "start", "a"]);
    assert_eq!(run.code, 1);
    assert_eq!(
        run.out,
        "[{\"detail\":\"b.service failed\",\"job\":1,\"result\":\"dependency\",\"unit\":\"a.service\",\"verb\":\"start\"}]\n"
    );
    assert_eq!(run.err, "");
}

#[test]
fn refusals_have_the_exit_status_of_their_kind() {
    for (kind, code) in [
        (ErrorKind::NotFound, 5),
        (ErrorKind::Denied, 4),
        (ErrorKind::BadUnit, 6),
        (ErrorKind::Unsupported, 3),
        (ErrorKind::Transaction, 1),
        (ErrorKind::ShuttingDown, 1),
    ] {
        let fake = Fake::new(move |_, _| refuse(kind, "no"));
        let run = sctl(&fake, &["start", "a"]);
        assert_eq!(
            (run.code, run.err.as_str()),
            (code, "sctl: no\n"),
            "{kind:?}"
        );
    }
}

#[test]
fn no_such_unit_is_a_mere_failure_for_what_queues_nothing() {
    let fake = Fake::new(|_, _| refuse(ErrorKind::NotFound, "no"));
    let run = sctl(&fake, &["reset-failed", "a"]);
    assert_eq!((run.code, run.err.as_str()), (1, "sctl: no\n"));
}

#[test]
fn no_block_does_not_wait() {
    let fake = Fake::new(|_, _| vec![queued("a.service", 1)]);
    let run = sctl(&fake, &["--no-block", "restart", "a"]);
    assert_eq!(run.code, 0);
    assert!(!jobs_of(&fake.requests()[0]).3);
}

/// What the next manager remembers of a unit whose job was asked for just now.
fn remembered(unit: &str, verb: JobVerb, result: JobResult, ended: u64) -> Step {
    let job = JobPast {
        verb,
        result,
        asked: u64::MAX / 2,
        ended,
        ..past("command", "")
    };
    Step::Say(Reply::History(UnitHistory {
        job: Some(job),
        ..history(unit)
    }))
}

fn count(fake: &Fake, what: impl Fn(&Request) -> bool) -> usize {
    fake.requests().iter().filter(|one| what(one)).count()
}

#[test]
fn what_the_next_manager_knows_nothing_of_is_asked_again() {
    let fake = Fake::new(|request, before| match request {
        Request::History { .. } => vec![Step::Say(Reply::History(history("a.service")))],
        _ if before < 3 => vec![queued("a.service", 1), Step::HangUp],
        _ => vec![
            queued("a.service", 1),
            ended("a.service", JobVerb::Start, JobResult::Done, ""),
        ],
    });
    let run = sctl(&fake, &["start", "a"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(count(&fake, |one| matches!(one, Request::Jobs { .. })), 3);
}

#[test]
fn what_was_done_unseen_is_not_done_twice() {
    for (verb, word) in [
        (JobVerb::Restart, "restart"),
        (JobVerb::Reload, "reload"),
        (JobVerb::Start, "start"),
    ] {
        for heard in [true, false] {
            let fake = Fake::new(move |request, before| match request {
                Request::Jobs { .. } if before == 0 && heard => {
                    vec![queued("a.service", 1), Step::HangUp]
                }
                Request::Jobs { .. } if before == 0 => vec![Step::HangUp],
                Request::History { .. } => {
                    vec![remembered("a.service", verb, JobResult::Done, u64::MAX / 2)]
                }
                other => panic!("asked again: {other:?}"),
            });
            let run = sctl(&fake, &[word, "a"]);
            assert_eq!((run.code, run.err.as_str()), (0, ""));
            assert_eq!(count(&fake, |one| matches!(one, Request::Jobs { .. })), 1);
        }
    }
}

#[test]
fn what_is_queued_still_is_waited_for() {
    let fake = Fake::new(|request, before| match request {
        Request::Jobs { .. } if before == 0 => vec![Step::HangUp],
        Request::History { .. } => {
            let ended = if before < 3 { 0 } else { u64::MAX / 2 };
            vec![remembered(
                "a.service",
                JobVerb::Restart,
                JobResult::Failed,
                ended,
            )]
        }
        Request::Show { unit } => {
            let mut detail = detail(unit);
            detail.detail = "it did not come back".into();
            vec![Step::Say(Reply::Detail(detail))]
        }
        other => panic!("asked again: {other:?}"),
    });
    let run = sctl(&fake, &["restart", "a"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("it did not come back"), "{}", run.err);
}

#[test]
fn a_signal_is_never_sent_twice() {
    let fake = Fake::new(|_, _| vec![Step::HangUp]);
    let run = sctl(&fake, &["kill", "-s", "HUP", "--kill-whom=main", "a"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("not known whether"), "{}", run.err);
    assert_eq!(
        fake.requests(),
        [Request::Kill {
            unit: "a.service".into(),
            whom: Whom::Main,
            signal: 1
        }]
    );
}

#[test]
fn a_bad_signal_is_refused_before_anything_is_asked() {
    let fake = Fake::new(|_, _| Vec::new());
    let run = sctl(&fake, &["kill", "--signal=SIGFOO", "a"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("SIGFOO"), "{}", run.err);
    assert!(fake.requests().is_empty());
}

#[test]
fn a_manager_that_says_nothing_is_given_up_in_time() {
    let fake = Fake::new(|_, _| vec![Step::Silence]);
    let run = sctl(&fake, &["--timeout=1", "-q", "list-jobs"]);
    assert_eq!(run.code, 1);
    assert!(
        run.err.contains("no answer from the manager in 1 s"),
        "{}",
        run.err
    );
}

#[test]
fn nor_is_one_waited_for_that_falls_silent_with_a_job() {
    let fake = Fake::new(|_, _| vec![queued("a.service", 1), Step::Silence]);
    let run = sctl(&fake, &["--timeout=1", "-q", "start", "a"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("no answer"), "{}", run.err);
}

#[test]
fn garbage_is_an_error_not_a_crash() {
    let fake = Fake::new(|_, _| vec![Step::Raw(vec![0xff; 300])]);
    let run = sctl(&fake, &["list-units"]);
    assert_eq!(run.code, 1);
    assert!(run.err.contains("not our protocol"), "{}", run.err);
}

#[test]
fn nobody_there() {
    let run = sctl_alone(&["--socket=/nonexistent/socket", "list-units"], None);
    assert_eq!(run.code, 1);
    assert_eq!(
        run.err,
        "sctl: sysmaster does not run here: there is no /nonexistent/socket\n"
    );
    let run = sctl_alone(&["--socket=/nonexistent/socket", "is-system-running"], None);
    assert_eq!((run.code, run.out.as_str()), (1, "offline\n"));
}

#[test]
fn patterns_stand_for_loaded_units() {
    let fake = Fake::new(|request, _| match request {
        Request::ListUnits { patterns, all } => {
            assert!(*all);
            assert_eq!(patterns, &["web-*"]);
            ["web-1.service", "web-2.service"]
                .map(|name| {
                    Step::Say(Reply::Unit(line(
                        name,
                        units::state::ActiveState::Active,
                        "running",
                    )))
                })
                .into()
        }
        _ => vec![queued("web-1.service", 0), queued("web-2.service", 0)],
    });
    let run = sctl(&fake, &["stop", "web-*", "web-1"]);
    assert_eq!(run.code, 0);
    let (verb, units, ..) = jobs_of(&fake.requests()[1]);
    assert_eq!((verb, units.len()), (JobVerb::Stop, 2));
}

#[test]
fn isolate_and_its_short_forms() {
    for (args, unit) in [
        (&["isolate", "multi-user"][..], "multi-user.target"),
        (&["rescue"][..], "rescue.target"),
        (&["default"][..], "default.target"),
    ] {
        let fake = Fake::new(|_, _| Vec::new());
        assert_eq!(sctl(&fake, args).code, 0);
        let (verb, units, mode, _) = jobs_of(&fake.requests()[0]);
        assert_eq!((verb, mode), (JobVerb::Start, JobMode::Isolate));
        assert_eq!(units, [unit]);
    }
}

#[test]
fn shutdown_cancel_and_reset() {
    let fake = Fake::new(|_, _| Vec::new());
    assert_eq!(sctl(&fake, &["reboot", "-f"]).code, 0);
    assert_eq!(sctl(&fake, &["poweroff"]).code, 0);
    assert_eq!(sctl(&fake, &["cancel", "3", "4"]).code, 0);
    assert_eq!(sctl(&fake, &["reset-failed"]).code, 0);
    assert_eq!(sctl(&fake, &["cancel", "x"]).code, 1);
    assert_eq!(
        fake.requests(),
        [
            Request::Shutdown {
                kind: ShutdownKind::Reboot,
                force: true
            },
            Request::Shutdown {
                kind: ShutdownKind::PowerOff,
                force: false
            },
            Request::Cancel { jobs: vec![3, 4] },
            Request::ResetFailed { units: Vec::new() },
        ]
    );
}

#[test]
fn reexec_waits_for_the_next_manager() {
    let fake = Fake::new(|request, _| match request {
        Request::Reexec => vec![Step::HangUp],
        _ => vec![Step::Say(Reply::Manager(manager()))],
    });
    let run = sctl(&fake, &["daemon-reexec"]);
    assert_eq!(run.code, 0);
    assert!(run.err.contains("pid 2"), "{}", run.err);
}

#[test]
fn a_terminal_sees_what_is_waited_for_and_then_nothing_of_it() {
    let fake = Fake::new(|_, _| {
        vec![
            Step::Say(Reply::Waiting(vec![JobLine {
                id: 1,
                unit: "a.service".into(),
                verb: JobVerb::Start,
                running: true,
                since: 0,
                deadline: None,
                waits_for: Vec::new(),
            }])),
            ended("a.service", JobVerb::Start, JobResult::Done, ""),
        ]
    });
    let socket = format!("--socket={}", fake.path.display());
    let run = sctl_alone(&[&socket, "start", "a"], Some(80));
    assert_eq!(run.err, "\r\x1b[Kwaiting: a.service start\r\x1b[K");
}

fn undone() -> Step {
    Step::Say(Reply::Undone {
        unit: "b.service".into(),
        result: JobResult::Failed,
        detail: "exit-code: it ended with status 3".into(),
        stopped: vec!["a.service".into(), "x.service".into()],
    })
}

#[test]
fn an_atomic_start_is_one_request() {
    let fake = Fake::new(|_, _| {
        vec![
            queued("a.service", 1),
            queued("b.service", 2),
            ended("a.service", JobVerb::Start, JobResult::Done, ""),
            ended("b.service", JobVerb::Start, JobResult::Done, ""),
        ]
    });
    let run = sctl(&fake, &["start", "--atomic", "a", "b"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (0, "", ""));
    let units = vec!["a.service".to_owned(), "b.service".to_owned()];
    let (mode, wait) = (JobMode::Replace, true);
    assert_eq!(fake.requests(), [Request::Atomic { units, mode, wait }]);
    let run = sctl(&fake, &["stop", "--atomic", "a"]);
    assert!(
        run.code == 1 && run.err.contains("goes with start"),
        "{}",
        run.err
    );
}

#[test]
fn errors_are_coloured_where_they_go_to_a_terminal_and_not_where_the_answers_do() {
    let failing = || {
        Fake::new(|_, _| {
            vec![
                queued("a.service", 1),
                ended("a.service", JobVerb::Start, JobResult::Failed, "x"),
            ]
        })
    };
    for (args, live, coloured) in [
        (&["start", "a"][..], true, true),
        (&["start", "a"], false, false),
        (&["start", "a", "--colour=always"], false, true),
        (&["start", "a", "--colour=never"], true, false),
    ] {
        let run = sctl_coloured(&failing(), args, live);
        assert_eq!(
            run.err.contains('\x1b'),
            coloured,
            "{args:?} {live}: {:?}",
            run.err
        );
    }
}

#[test]
fn an_atomic_start_that_was_rolled_back_says_why_and_what_was_stopped() {
    let fake = Fake::new(|_, _| {
        vec![
            queued("a.service", 1),
            queued("b.service", 2),
            ended("a.service", JobVerb::Start, JobResult::Done, ""),
            ended("b.service", JobVerb::Start, JobResult::Failed, "exit-code"),
            undone(),
        ]
    });
    let run = sctl(&fake, &["start", "--atomic", "a", "b"]);
    assert_eq!((run.code, run.out.as_str()), (1, ""));
    assert_eq!(
        run.err,
        "b.service: start did not succeed: exit-code: it ended with status 3\n  more: sctl why b.service\n  rolled back: stopped again: a.service, x.service\n"
    );
    let run = sctl(&fake, &["start", "--atomic", "--json", "a", "b"]);
    assert_eq!((run.code, run.err.as_str()), (1, ""));
    assert!(
        run.out
            .starts_with("{\"jobs\":[{\"detail\":\"\",\"job\":1,"),
        "{}",
        run.out
    );
    assert!(
        run.out.ends_with(
            "\"undone\":{\"detail\":\"exit-code: it ended with status 3\",\"result\":\"failed\",\"stopped\":[\"a.service\",\"x.service\"],\"unit\":\"b.service\"}}\n"
        ),
        "{}",
        run.out
    );
}

#[test]
fn an_atomic_start_is_asked_for_again_when_the_manager_is_replaced() {
    let fake = Fake::new(|_, before| match before {
        0 => vec![queued("a.service", 1), Step::HangUp],
        _ => vec![queued("a.service", 1), undone()],
    });
    let run = sctl(&fake, &["start", "--atomic", "a", "b"]);
    assert!(
        run.code == 1 && run.err.contains("rolled back"),
        "{}",
        run.err
    );
    let asked = fake.requests();
    assert!(asked.len() == 2 && asked[0] == asked[1], "{asked:?}");
}
