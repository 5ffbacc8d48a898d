//! What a process finds when it begins, and what happens when that cannot be made.

use super::Scenario;
use super::rig::Rig;
use units::state::{ActiveState, Exit, Outcome};
use units::wire::helper::{About, ToHelper};

pub const ALL: &[Scenario] = &[
    ("contract", contract),
    ("environment", environment),
    ("who triggered it", monitor),
    ("streams and directories", streams),
    ("users", users),
    ("set-up failures", failures),
    ("rights that are missing", rights),
];

fn contract(rig: &mut Rig) {
    rig.load(
        "a.service",
        "Type=oneshot\nStandardOutput=file:@D/out\nStandardError=null\nExecStart=/bin/sh -c 'umask; \
         ulimit -Sn; cat /proc/self/oom_score_adj; ls /proc/self/fd | wc -l; \
         grep -E \"^Sig(Blk|Ign)\" /proc/self/status; cut -d\" \" -f6 /proc/$$$$/stat; echo $$$$; \
         pwd'\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.reports);
    let out = rig.read("out");
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[..3], ["0022", "1024", "0"], "{out}");
    // 0, 1, 2 and the directory that ls reads.
    assert_eq!(lines[3], "4", "{out}");
    assert_eq!(lines[4], "SigBlk:\t0000000000000000");
    assert_eq!(lines[5], "SigIgn:\t0000000000001000");
    assert_eq!(lines[6], lines[7], "a session of its own: {out}");
}

fn environment(rig: &mut Rig) {
    std::fs::write(rig.directory.join("env"), "C=file\n# no\nD='a b'\n").unwrap();
    rig.load(
        "a.service",
        "Type=oneshot\nEnvironment=A=1 \"B=x y\" C=unit\nEnvironmentFile=@D/env\n\
         EnvironmentFile=-@D/none\nUnsetEnvironment=A\nStandardOutput=truncate:@D/out\n\
         RuntimeDirectory=service-test-env\nExecStart=/bin/sh -c 'env | sort; echo \"$0|$1\"' ${D} $B\n",
    );
    rig.load(
        "b.service",
        "Type=oneshot\nEnvironmentFile=@D/none\nExecStart=/bin/true\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.reports);
    let out = rig.read("out");
    for line in ["B=x y", "C=file", "D=a b", "FROM_MANAGER=1", "a b|x"] {
        assert!(out.lines().any(|other| other == line), "{line}: {out}");
    }
    assert!(
        out.contains("RUNTIME_DIRECTORY=/run/service-test-env\n"),
        "{out}"
    );
    assert!(
        out.contains("INVOCATION_ID=0000") && out.contains("SYSTEMD_EXEC_PID="),
        "{out}"
    );
    assert!(
        out.contains("PATH=/usr/local/sbin:") && !out.contains("\nA="),
        "{out}"
    );
    assert!(!std::path::Path::new("/run/service-test-env").exists());
    assert_eq!(rig.start("b.service"), Outcome::Failed);
    assert!(
        rig.reports["b.service"].detail.contains("/none"),
        "{:?}",
        rig.reports["b.service"]
    );
}

fn streams(rig: &mut Rig) {
    std::fs::write(rig.directory.join("in"), "input\n").unwrap();
    std::fs::write(rig.directory.join("log"), "before\n").unwrap();
    rig.load(
        "a.service",
        "Type=oneshot\nStandardInput=file:@D/in\nStandardOutput=append:@D/log\nStandardError=inherit\n\
         WorkingDirectory=@D\nUMask=027\nLimitCORE=0\nLimitNOFILE=100:200\nNice=5\n\
         ExecStart=/bin/sh -c 'cat; echo err >&2; pwd; umask; ulimit -Sn; ulimit -Hn; nice'\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.reports);
    let here = rig.directory.to_str().unwrap().to_owned();
    assert_eq!(
        rig.read("log"),
        format!("before\ninput\nerr\n{here}\n0027\n100\n200\n5\n")
    );
}

fn users(rig: &mut Rig) {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        println!("skipped: users need root");
        return;
    }
    rig.load(
        "a.service",
        "Type=oneshot\nRemainAfterExit=yes\nUser=nobody\nStandardOutput=truncate:@D/out\n\
         RuntimeDirectory=service-test-user\nRuntimeDirectoryMode=0750\n\
         ExecStartPre=+/bin/sh -c 'id -u'\nExecStartPre=!/bin/sh -c 'id -u >@D/bang'\n\
         ExecStart=/bin/sh -c 'id -un; echo $HOME $USER $LOGNAME; touch $RUNTIME_DIRECTORY/mine'\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.reports);
    let out = rig.read("out");
    assert!(
        out.starts_with("nobody\n/nonexistent nobody nobody\n"),
        "{out}"
    );
    assert_eq!(rig.read("bang"), "0\n");
    let made = std::fs::metadata("/run/service-test-user").unwrap();
    assert_eq!((made.mode() & 0o7777, made.uid()), (0o750, 65534));
    assert_eq!(rig.stop("a.service"), Outcome::Done);
    assert!(!std::path::Path::new("/run/service-test-user").exists());
}

fn failures(rig: &mut Rig) {
    std::fs::write(rig.directory.join("plain"), "no program").unwrap();
    let cases = [
        (
            "ExecStart=/no/such/program",
            203,
            "EXEC",
            "/no/such/program",
        ),
        ("ExecStart=no-such-program", 203, "EXEC", "no-such-program"),
        ("ExecStart=@D/plain", 203, "EXEC", "Permission denied"),
        (
            "ExecStart=/bin/true\nWorkingDirectory=@D/none",
            200,
            "CHDIR",
            "/none",
        ),
        (
            "ExecStart=/bin/true\nUser=no-such-user",
            217,
            "USER",
            "no-such-user",
        ),
        (
            "ExecStart=/bin/true\nGroup=no-such-group",
            216,
            "GROUP",
            "no-such-group",
        ),
        (
            "ExecStart=/bin/true\nStandardOutput=file:@D/none/x",
            209,
            "STDOUT",
            "No such file",
        ),
        (
            "ExecStart=/bin/true\nStandardInput=file:@D/none",
            208,
            "STDIN",
            "No such file",
        ),
        (
            "ExecStart=/bin/true\nStandardError=append:@D/no/x",
            222,
            "STDERR",
            "No such file",
        ),
        (
            "ExecStart=/bin/true\nRootDirectory=@D/none",
            210,
            "CHROOT",
            "/none",
        ),
    ];
    for (at, (text, ..)) in cases.iter().enumerate() {
        rig.load(
            &format!("a{at}.service"),
            &format!("Type=oneshot\n{text}\n"),
        );
    }
    rig.helper();
    for (at, (text, code, step, subject)) in cases.iter().enumerate() {
        let unit = format!("a{at}.service");
        assert_eq!(rig.start(&unit), Outcome::Failed, "{text}");
        let report = &rig.reports[&unit];
        assert_eq!(
            report.exit,
            Some(Exit::Code(*code)),
            "{text}: {}",
            report.detail
        );
        assert_eq!(report.active, ActiveState::Failed);
        assert!(report.detail.contains(step), "{text}: {}", report.detail);
        assert!(report.detail.contains(subject), "{text}: {}", report.detail);
    }
}

fn rights(rig: &mut Rig) {
    // Whether or not this process has the right: the service starts.
    rig.load(
        "a.service",
        "Type=oneshot\nLimitNOFILE=4000000\nLimitMEMLOCK=infinity\nOOMScoreAdjust=-900\nNice=-5\n\
         ExecStart=/bin/true\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Done, "{:?}", rig.reports);
}

/// What a unit learns of the one whose end started it, and only about that start.
fn monitor(rig: &mut Rig) {
    rig.load("a.service", "Type=oneshot\nExecStart=/bin/sh -c 'exit 3'\n");
    rig.load(
        "f.service",
        "Type=oneshot\nStandardOutput=truncate:@D/out\nExecStart=/bin/sh -c 'env | grep MONITOR_ | sort'\n",
    );
    rig.helper();
    assert_eq!(rig.start("a.service"), Outcome::Failed);
    let about = About {
        unit: "f.service".into(),
        triggered_by: "a.service".into(),
        ..About::default()
    };
    rig.send(ToHelper::About(about), None);
    assert_eq!(rig.start("f.service"), Outcome::Done);
    let expected = format!(
        "MONITOR_EXIT_CODE=exited\nMONITOR_EXIT_STATUS=3\nMONITOR_INVOCATION_ID={}\n\
         MONITOR_SERVICE_RESULT=exit-code\nMONITOR_UNIT=a.service\n",
        rig.reports["a.service"].invocation
    );
    assert_eq!(rig.read("out"), expected);
    assert_eq!(rig.start("f.service"), Outcome::Done);
    assert_eq!(rig.read("out"), "");
}
