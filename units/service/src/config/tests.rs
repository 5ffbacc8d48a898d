use super::*;
use crate::context::{Input, Output, Preserve, Sort};
use crate::policy::{Access, KillMode, Kind, NEVER, Restart};
use units::value::rlimit::Resource;
use units::wire::helper::{RawEntry, Severity};

fn source(text: &str) -> UnitSource {
    let mut entries = Vec::new();
    let mut section = String::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').into();
        } else if let Some((key, value)) = line.split_once('=') {
            entries.push(RawEntry {
                section: section.clone(),
                key: key.into(),
                value: value.into(),
                file: 0,
                line: at as u32 + 1,
            });
        }
    }
    UnitSource {
        unit: "web@one.service".into(),
        files: vec!["/etc/x".into()],
        entries,
        description: String::new(),
        cgroup: "system.slice/web@one.service".into(),
    }
}

fn defaults() -> HelperConfig {
    HelperConfig {
        timeout_start: 90_000_000,
        timeout_stop: 80_000_000,
        restart_delay: 100_000,
        ..HelperConfig::default()
    }
}

fn good(text: &str) -> Config {
    let reading = read(&source(&format!("[Service]\n{text}")), &defaults());
    assert!(reading.findings.is_empty(), "{:?}", reading.findings);
    reading.config
}

fn findings(text: &str) -> Vec<(Severity, u32, String)> {
    read(&source(&format!("[Service]\n{text}")), &defaults())
        .findings
        .into_iter()
        .map(|finding| (finding.severity, finding.line, finding.text))
        .collect()
}

#[test]
fn the_table_is_sorted() {
    for pair in table::TABLE.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{} {}", pair[0].0, pair[1].0);
    }
    for (name, _) in table::TABLE {
        assert!(
            units::directives::is_known("Service", name),
            "{name} is not systemd's"
        );
    }
}

#[test]
fn a_plain_service() {
    let config = good("ExecStart=/usr/bin/daemon --name %i\n");
    let command = config.command(Step::Start, 0).unwrap();
    assert_eq!(command.argv, ["/usr/bin/daemon", "--name", "one"]);
    assert_eq!(config.policy.kind, Kind::Simple);
    assert_eq!(
        (config.policy.times.start, config.policy.times.stop),
        (90_000_000, 80_000_000)
    );
    assert_eq!(config.policy.access, Access::None);
    assert_eq!(config.context.output, Output::Log);
    assert_eq!(&*config.cgroup, "system.slice/web@one.service");
    assert!(!config.policy.can_reload());
}

#[test]
fn what_debian_daemons_use() {
    let config = good(
        "Type=forking\nPIDFile=nginx.pid\nExecStartPre=/usr/sbin/nginx -t -q -g 'daemon on;'\n\
         ExecStart=/usr/sbin/nginx -g 'daemon on; master_process on;'\n\
         ExecReload=/usr/sbin/nginx -s reload\n\
         ExecStop=-/sbin/start-stop-daemon --quiet --stop --retry QUIT/5\n\
         TimeoutStopSec=5\nKillMode=mixed\n",
    );
    assert_eq!(config.context.pid_file.as_deref(), Some("/run/nginx.pid"));
    assert!(config.policy.pid_file && config.policy.can_reload());
    assert_eq!(config.policy.kill.mode, KillMode::Mixed);
    assert!(config.policy.ignores(Step::Stop, 0) && !config.policy.ignores(Step::Start, 0));
    let config = good(
        "Type=notify\nExecStart=/usr/bin/redis-server /etc/redis.conf --daemonize no\n\
         TimeoutStopSec=0\nRestart=always\nUser=redis\nGroup=redis\nRuntimeDirectory=redis a/b\n\
         RuntimeDirectoryMode=2755\nUMask=007\nLimitNOFILE=65535\nOOMScoreAdjust=-900\n\
         EnvironmentFile=-/etc/default/redis\n",
    );
    assert_eq!(config.policy.access, Access::Main);
    assert_eq!(config.policy.times.stop, NEVER);
    assert_eq!(config.policy.again.restart, Restart::Always);
    let directories = &config.context.directories[0];
    assert_eq!(
        (directories.sort, directories.mode),
        (Sort::Runtime, 0o2755)
    );
    assert_eq!(directories.names.len(), 2);
    assert_eq!(config.context.limits[0].0, Resource::Nofile);
    assert_eq!(
        (config.context.umask, config.context.oom),
        (0o007, Some(-900))
    );
    assert_eq!(config.context.files, [("/etc/default/redis".into(), true)]);
}

#[test]
fn empty_values_reset() {
    let config = good(
        "ExecStart=/a\nExecStart=\nExecStart=/b\nEnvironment=A=1 'B=2 3'\nEnvironment=\n\
         Environment=C=4\nSuccessExitStatus=1 2\nSuccessExitStatus=\nStateDirectory=x\n\
         StateDirectory=\nUser=me\nUser=\nLimitCORE=0\nLimitCORE=\nPIDFile=/x\nPIDFile=\n",
    );
    assert_eq!(config.commands[2].len(), 1);
    assert_eq!(config.context.environment, ["C=4"]);
    assert!(config.policy.success.is_empty() && config.context.directories.is_empty());
    assert!(config.context.user.is_none() && config.context.limits.is_empty());
    assert!(config.context.pid_file.is_none());
}

#[test]
fn streams_and_directories() {
    let config = good(
        "ExecStart=/a\nStandardInput=tty\nStandardError=append:/var/log/%p.err\nTTYPath=/dev/tty3\n\
         WorkingDirectory=-~\nRuntimeDirectory=q\nRuntimeDirectoryPreserve=restart\n",
    );
    assert_eq!(config.context.input, Input::Terminal { force: false });
    assert_eq!(config.context.output, Output::Inherit);
    assert_eq!(
        config.context.error,
        Output::Append("/var/log/web.err".into())
    );
    assert_eq!(config.context.preserve, Preserve::Restart);
    let directory = config.context.directory.unwrap();
    assert!(directory.optional && directory.path.is_none());
}

#[test]
fn bad_values_are_errors_with_their_line() {
    for bad in [
        "Type=often",
        "Restart=perhaps",
        "ExecStartPre=relative/path",
        "ExecStartPre=/bin/x \"open",
        "TimeoutStopSec=ten",
        "KillSignal=SIGNOTHING",
        "Nice=99",
        "OOMScoreAdjust=5000",
        "UMask=rw",
        "RemainAfterExit=si",
        "User=a:b",
        "Environment=1A=x",
        "EnvironmentFile=etc/x",
        "StandardOutput=paper",
        "StandardOutput=file:here",
        "StateDirectory=../up",
        "StateDirectory=/abs",
        "LimitNOFILE=many",
        "WorkingDirectory=here",
        "SuccessExitStatus=300",
        "RestartSec=%",
        "FileDescriptorStoreMax=-1",
        "KillMode=",
    ] {
        let found = findings(&format!("ExecStart=/a\n{bad}\n"));
        assert_eq!(found.len(), 1, "{bad} {found:?}");
        assert_eq!(
            (found[0].0, found[0].1),
            (Severity::Error, 3),
            "{bad} {found:?}"
        );
        let key = bad.split('=').next().unwrap();
        assert!(
            found[0].2.starts_with(key) && found[0].2.len() < 200,
            "{found:?}"
        );
    }
}

#[test]
fn unknown_and_not_carried_out() {
    let found = findings("ExecStart=/a\nPrivateTmp=yes\nExecStrat=/b\nX-Mine=1\n");
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((found[0].0, found[0].1), (Severity::Unsupported, 3));
    assert_eq!((found[1].0, found[1].1), (Severity::Warning, 4));
    let found = findings("ExecStart=/a\nType=dbus\nStandardInput=socket\n");
    assert!(
        found
            .iter()
            .all(|finding| finding.0 == Severity::Unsupported),
        "{found:?}"
    );
    let strict = HelperConfig {
        strict: true,
        ..defaults()
    };
    let reading = read(
        &source("[Service]\nExecStart=/a\nPrivateTmp=yes\n"),
        &strict,
    );
    assert_eq!(reading.findings[0].severity, Severity::Error);
}

#[test]
fn what_does_not_go_together() {
    for (text, line) in [
        ("", 0),
        ("ExecStop=/b", 0),
        ("Type=oneshot\nExecStop=/b", 2),
        ("ExecStart=/a\nExecStart=/b", 3),
        ("Type=oneshot\nExecStart=/a\nRestart=always", 4),
    ] {
        let found = findings(text);
        assert_eq!(found.len(), 1, "{text} {found:?}");
        assert_eq!(
            (found[0].0, found[0].1),
            (Severity::Error, line),
            "{text} {found:?}"
        );
    }
    let config = good("Type=oneshot\nRemainAfterExit=yes\nExecStop=/b\n");
    assert_eq!(config.policy.times.start, NEVER);
}

#[test]
fn paths_imply_their_mounts() {
    let reading = read(
        &source(
            "[Service]\nExecStart=/a\nStateDirectory=web\nRuntimeDirectory=web\n\
             WorkingDirectory=/srv/web\nStandardOutput=file:/data/log\n",
        ),
        &defaults(),
    );
    let paths: Vec<&str> = reading
        .implied
        .iter()
        .map(|one| one.value.as_str())
        .collect();
    assert_eq!(paths, ["/var/lib/web", "/srv/web", "/data/log"]);
}

#[test]
fn the_reference_names_every_directive() {
    let reference = include_str!("../../../../docs/reference/directives.md");
    for (name, _) in table::TABLE {
        assert!(
            reference.contains(&format!("`{name}`")),
            "docs/reference/directives.md does not mention {name}="
        );
    }
}

#[test]
fn a_service_without_commands_acts_on_its_success() {
    let read = |text: &str| super::read(&source(text), &defaults());
    let reading = read("[Unit]\nSuccessAction=halt-force\n");
    assert!(reading.findings.is_empty(), "{:?}", reading.findings);
    assert_eq!(reading.config.policy.kind, Kind::Oneshot);
    assert_eq!(read("[Service]\nUMask=0\n").findings.len(), 1);
    let reading = read("[Service]\nExecStop=/x\nRemainAfterExit=yes\n");
    assert!(reading.findings.is_empty(), "{:?}", reading.findings);
    assert_eq!(reading.config.policy.kind, Kind::Oneshot);
}

#[test]
fn a_directory_may_end_in_a_slash() {
    let text = "[Service]\nExecStart=/x\nRuntimeDirectory=a/ b/c//\n";
    let reading = super::read(&source(text), &defaults());
    assert!(reading.findings.is_empty(), "{:?}", reading.findings);
}
