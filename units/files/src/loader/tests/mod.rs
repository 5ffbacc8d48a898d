use super::*;
use std::fs;
use std::os::unix::fs::symlink;

mod again;
mod conditions;
mod drop_ins;
mod specifiers;

/// A root directory of its own, removed at the end of the test.
pub(crate) struct Tree(PathBuf);

impl Tree {
    pub fn new() -> Self {
        let name = format!("sysmaster-units-{:x}", platform::random::bits128());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn link(&self, path: &str, target: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    /// The unit path of these tests.
    pub fn unit_path() -> Vec<PathBuf> {
        ["/etc/u", "/run/u", "/usr/lib/u"].map(PathBuf::from).into()
    }

    pub fn loader(&self) -> Loader {
        Loader::new(Settings {
            root: self.0.clone(),
            unit_path: Self::unit_path(),
            strict: false,
            start_limit: StartLimit::default(),
            has_type: |_| true,
        })
    }

    pub fn load(&self, unit: &str) -> Loaded {
        self.loader().load(&name(unit))
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

pub(super) fn deps(spec: &UnitSpec, kind: DepKind) -> Vec<&str> {
    spec.deps_of(kind).map(UnitName::as_str).collect()
}

pub(super) fn entries(loaded: &Loaded) -> Vec<String> {
    let entry = |e: &RawEntry| format!("{}={}@{}:{}", e.key, e.value, e.file, e.line);
    loaded.entries.iter().map(entry).collect()
}

pub(super) const SERVICE: &str = "[Unit]\nDescription=x\n[Service]\nExecStart=/bin/x\n";

#[test]
fn the_strongest_directory_counts_and_drop_ins_are_merged_by_name() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a-b.service", SERVICE);
    tree.write(
        "run/u/a-b.service",
        "[Unit]\nDescription=run\n[Service]\nType=exec\n",
    );
    tree.write("usr/lib/u/a-b.service.d/50-x.conf", "[Service]\nA=lib50\n");
    tree.write("etc/u/a-b.service.d/50-x.conf", "[Service]\nA=etc50\n");
    tree.write("usr/lib/u/a-b.service.d/10-y.conf", "[Service]\nA=lib10\n");
    tree.write("etc/u/service.d/20-all.conf", "[Service]\nA=all\n");
    tree.write("etc/u/a-.service.d/30-dash.conf", "[Service]\nA=dash\n");
    tree.write(
        "usr/lib/u/a-b.service.d/60-gone.conf",
        "[Service]\nA=gone\n",
    );
    tree.link("etc/u/a-b.service.d/60-gone.conf", "/dev/null");
    tree.write("etc/u/a-b.service.d/readme.txt", "[Service]\nA=no\n");
    let loaded = tree.load("a-b.service");
    assert_eq!(loaded.spec.load, LoadState::Loaded);
    assert_eq!(loaded.spec.fragment, "/run/u/a-b.service");
    assert_eq!(
        loaded.spec.dropins,
        [
            "/usr/lib/u/a-b.service.d/10-y.conf",
            "/etc/u/service.d/20-all.conf",
            "/etc/u/a-.service.d/30-dash.conf",
            "/etc/u/a-b.service.d/50-x.conf"
        ]
    );
    assert_eq!(
        entries(&loaded),
        [
            "Type=exec@0:4",
            "A=lib10@1:2",
            "A=all@2:2",
            "A=dash@3:2",
            "A=etc50@4:2"
        ]
    );
    assert_eq!(loaded.files().len(), 5);
}

#[test]
fn masks_of_every_kind() {
    let tree = Tree::new();
    for unit in ["a", "b", "c"] {
        tree.write(&format!("usr/lib/u/{unit}.service"), SERVICE);
    }
    tree.link("etc/u/a.service", "/dev/null");
    tree.write("etc/u/b.service", "");
    tree.link("etc/u/c.service", "../../../../../dev/null");
    tree.link("etc/u/t@.service", "/dev/null");
    for unit in ["a.service", "b.service", "c.service", "t@x.service"] {
        assert_eq!(tree.load(unit).spec.load, LoadState::Masked, "{unit}");
    }
    assert_eq!(tree.load("gone.service").spec.load, LoadState::NotFound);
}

#[test]
fn aliases_lead_to_one_unit_with_all_its_names() {
    let tree = Tree::new();
    tree.write("usr/lib/u/ssh.service", SERVICE);
    tree.link("etc/u/sshd.service", "/usr/lib/u/ssh.service");
    tree.link("usr/lib/u/openssh.service", "sshd.service");
    tree.write("etc/u/sshd.service.d/a.conf", "[Service]\nB=1\n");
    tree.link("etc/u/openssh.service.wants/w.service", "/x/w.service");
    for asked in ["ssh.service", "sshd.service", "openssh.service"] {
        let spec = tree.load(asked).spec;
        assert_eq!(spec.id.as_str(), "ssh.service");
        assert_eq!(spec.fragment, "/usr/lib/u/ssh.service");
        assert_eq!(spec.names, [name("openssh.service"), name("sshd.service")]);
        assert_eq!(spec.dropins, ["/etc/u/sshd.service.d/a.conf"]);
        assert_eq!(deps(&spec, DepKind::Wants), ["w.service"]);
    }
}

#[test]
fn links_that_lead_nowhere_good() {
    let tree = Tree::new();
    tree.link("etc/u/a.service", "b.service");
    tree.link("etc/u/b.service", "c.service");
    tree.link("etc/u/c.service", "a.service");
    tree.link("etc/u/self.service", "self.service");
    tree.link("etc/u/kind.service", "kind.socket");
    tree.link("etc/u/plain.service", "t@.service");
    tree.link("etc/u/dangling.service", "/usr/lib/u/none.service");
    tree.link("etc/u/out.service", "/srv/none.service");
    fs::create_dir(tree.path().join("etc/u/dir.service")).unwrap();
    for i in 0..40 {
        tree.link(
            &format!("run/u/l{i}.service"),
            &format!("l{}.service", i + 1),
        );
    }
    tree.write("run/u/l40.service", SERVICE);
    for (unit, part) in [
        ("a.service", "a.service → b.service → c.service → a.service"),
        ("self.service", "cannot read"),
        ("kind.service", "another type"),
        ("plain.service", "template"),
        ("out.service", "cannot read /srv/none.service"),
        ("dir.service", "is a directory"),
        ("l0.service", "too far"),
    ] {
        let LoadState::Error { reason } = tree.load(unit).spec.load else {
            panic!("{unit}")
        };
        assert!(reason.contains(part), "{unit}: {reason}");
    }
    let spec = tree.load("dangling.service").spec;
    assert_eq!(
        (spec.id.as_str(), spec.load),
        ("none.service", LoadState::NotFound)
    );
    assert_eq!(tree.load("l30.service").spec.load, LoadState::Loaded);
}

#[test]
fn a_linked_unit_lies_elsewhere() {
    let tree = Tree::new();
    tree.write("srv/app.service", SERVICE);
    // An absolute link is followed by the kernel, out of this root: here it is relative.
    tree.link("etc/u/app.service", "../../srv/app.service");
    let spec = tree.load("app.service").spec;
    assert_eq!(
        (spec.fragment.as_str(), &spec.load),
        ("/srv/app.service", &LoadState::Loaded)
    );
}

#[test]
fn templates() {
    let tree = Tree::new();
    let text = "[Unit]\nDescription=%i on %p\nRequires=dep@%i.service part@.socket\n\
                [Service]\nExecStart=/bin/%i\n";
    tree.write("usr/lib/u/getty@.service", text);
    tree.link("etc/u/autovt@.service", "/usr/lib/u/getty@.service");
    tree.write("etc/u/getty@.service.d/a.conf", "[Service]\nA=1\n");
    tree.write("etc/u/getty@tty1.service.d/b.conf", "[Service]\nB=1\n");
    tree.link("etc/u/getty@tty1.service.wants/helper@.service", "/x");
    let loaded = tree.load("autovt@tty1.service");
    let spec = &loaded.spec;
    assert_eq!(spec.id.as_str(), "getty@tty1.service");
    assert_eq!(spec.names, [name("autovt@tty1.service")]);
    assert_eq!(spec.description, "tty1 on getty");
    assert_eq!(deps(spec, DepKind::Wants), ["helper@tty1.service"]);
    assert_eq!(
        deps(spec, DepKind::Requires),
        [
            "dep@tty1.service",
            "part@tty1.socket",
            "sysinit.target",
            "system-getty.slice"
        ]
    );
    assert_eq!(
        entries(&loaded),
        ["ExecStart=/bin/%i@0:5", "A=1@1:2", "B=1@2:2"]
    );
    assert_eq!(tree.load("getty@tty2.service").spec.dropins.len(), 1);
    let LoadState::Error { reason } = tree.load("getty@.service").spec.load else {
        panic!()
    };
    assert!(reason.contains("template"));
    tree.write("etc/u/getty@tty3.service", "[Service]\nOwn=1\n");
    assert_eq!(
        tree.load("getty@tty3.service").spec.fragment,
        "/etc/u/getty@tty3.service"
    );
}

#[test]
fn default_dependencies_by_type() {
    let tree = Tree::new();
    for (unit, text) in [
        ("a.service", SERVICE),
        ("n.service", "[Unit]\nDefaultDependencies=no\n"),
        ("a.socket", "[Socket]\nListenStream=1\n"),
        ("a.slice", "[Slice]\n#\n"),
        ("a.box", "[Box]\nX=1\n[Anything]\nY=1\n"),
    ] {
        tree.write(&format!("usr/lib/u/{unit}"), text);
    }
    let all = |unit: &str| {
        let spec = tree.load(unit).spec;
        assert_eq!(spec.load, LoadState::Loaded, "{unit}");
        let dep = |(kind, name): &(DepKind, UnitName)| format!("{}={name}", kind.as_str());
        spec.deps.iter().map(dep).collect::<Vec<_>>().join(" ")
    };
    let service = "Requires=sysinit.target Requires=system.slice Conflicts=shutdown.target \
                   Before=shutdown.target After=basic.target After=sysinit.target \
                   After=system.slice Slice=system.slice";
    assert_eq!(all("a.service"), service);
    assert_eq!(all("a.box"), service);
    assert_eq!(
        all("n.service"),
        "Requires=system.slice After=system.slice Slice=system.slice"
    );
    assert!(all("a.socket").contains("Before=sockets.target"));
    assert!(all("a.socket").contains("Before=a.service"));
    assert!(all("a.socket").contains("Triggers=a.service"));
    assert_eq!(
        all("a-b.slice"),
        "Requires=a.slice Conflicts=shutdown.target Before=shutdown.target After=a.slice \
         Slice=a.slice"
    );
    assert_eq!(
        all("system.slice"),
        "Requires=-.slice After=-.slice Slice=-.slice"
    );
    assert_eq!(all("-.slice"), "");
    assert_eq!(tree.load("a.box").entries.len(), 2);
}

#[test]
fn what_a_unit_triggers_and_what_a_service_listens_on() {
    let tree = Tree::new();
    for (unit, text) in [
        (
            "a@.socket",
            "[Socket]\nListenStream=1\nService=b-%i.service\n",
        ),
        ("a.timer", "[Timer]\nOnBootSec=1\nUnit=c.target\n"),
        ("a.path", "[Path]\nPathExists=/x\nUnit=\n"),
        (
            "a.service",
            "[Service]\nExecStart=/x\nSockets=one.socket two.socket\n",
        ),
        ("bad.socket", "[Socket]\nListenStream=1\nService=a.target\n"),
    ] {
        tree.write(&format!("usr/lib/u/{unit}"), text);
    }
    let triggers = |unit: &str| {
        let spec = tree.load(unit).spec;
        for other in deps(&spec, DepKind::Triggers) {
            assert!(
                deps(&spec, DepKind::Before).contains(&other),
                "{unit} before {other}"
            );
        }
        deps(&spec, DepKind::Triggers).join(" ")
    };
    assert_eq!(triggers("a@1.socket"), "b-1.service");
    assert_eq!(triggers("a.timer"), "c.target");
    assert_eq!(triggers("a.path"), "a.service");
    assert_eq!(triggers("a.service"), "");
    let service = tree.load("a.service").spec;
    assert_eq!(deps(&service, DepKind::Wants), ["one.socket", "two.socket"]);
    assert!(deps(&service, DepKind::After).contains(&"two.socket"));
    let LoadState::BadSetting { reason } = tree.load("bad.socket").spec.load else {
        panic!()
    };
    assert!(reason.contains(":3: Service=: found a.target, expected a unit of type service"));
}

#[test]
fn a_target_comes_after_what_it_pulls_in() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/t.target",
        "[Unit]\nRequires=r.service\nBefore=early.service\n",
    );
    for unit in ["r", "w", "early"] {
        tree.write(&format!("usr/lib/u/{unit}.service"), SERVICE);
    }
    tree.write(
        "usr/lib/u/late.service",
        "[Unit]\nAfter=t.target\n[Service]\nX=1\n",
    );
    tree.write("usr/lib/u/free.service", "[Unit]\nDefaultDependencies=no\n");
    for unit in ["w", "late", "free", "early", "gone"] {
        tree.link(&format!("etc/u/t.target.wants/{unit}.service"), "/x");
    }
    tree.link("etc/u/t.target.wants/masked.service", "/dev/null");
    tree.link("etc/u/t.target.wants/no-unit", "/x");
    let loaded = tree.load("t.target");
    let spec = &loaded.spec;
    assert_eq!(
        deps(spec, DepKind::Wants),
        [
            "early.service",
            "free.service",
            "gone.service",
            "late.service",
            "w.service"
        ]
    );
    assert_eq!(deps(spec, DepKind::After), ["r.service", "w.service"]);
    assert_eq!(loaded.findings.len(), 1);
    assert!(loaded.findings[0].text.contains("no-unit"));
    tree.write(
        "etc/u/t.target.d/x.conf",
        "[Unit]\nDefaultDependencies=no\n",
    );
    assert!(deps(&tree.load("t.target").spec, DepKind::After).is_empty());
}

#[test]
fn a_mount_has_its_place_by_what_it_is() {
    let tree = Tree::new();
    tree.write("usr/lib/u/a-b.mount", "[Mount]\nWhat=/dev/x\n");
    tree.write(
        "usr/lib/u/a.mount",
        "[Mount]\nWhat=t\nType=tmpfs\nOptions=nofail\n",
    );
    tree.write(
        "usr/lib/u/c.mount",
        "[Mount]\nWhat=/a/b/x\nOptions=bind,_netdev\n",
    );
    tree.write("usr/lib/u/dev-shm.mount", "[Mount]\nWhat=t\n");
    let all = |unit: &str| -> Vec<String> {
        let spec = tree.load(unit).spec;
        let of = |(kind, other): &(DepKind, UnitName)| format!("{}={other}", kind.as_str());
        let list = spec.deps.iter().map(of);
        list.filter(|dep| !dep.ends_with("system.slice")).collect()
    };
    assert_eq!(
        all("a-b.mount"),
        [
            "Requires=a.mount",
            "Conflicts=umount.target",
            "Before=local-fs.target",
            "Before=umount.target",
            "After=a.mount",
            "After=local-fs-pre.target"
        ]
    );
    assert_eq!(
        all("a.mount"),
        [
            "Conflicts=umount.target",
            "Before=umount.target",
            "After=local-fs-pre.target",
            "After=swap.target"
        ]
    );
    let c = all("c.mount");
    for dep in [
        "Requires=a-b.mount",
        "Requires=a.mount",
        "Before=remote-fs.target",
        "Wants=network-online.target",
        "After=remote-fs-pre.target",
    ] {
        assert!(c.iter().any(|has| has == dep), "{dep}: {c:?}");
    }
    assert!(all("dev-shm.mount").is_empty());
}

#[test]
fn slices_and_mounts() {
    let tree = Tree::new();
    let text =
        "[Unit]\nRequiresMountsFor=/var/lib/x\n[Service]\nSlice=app-%p.slice\nExecStart=/x\n";
    tree.write("usr/lib/u/a.service", text);
    tree.write("usr/lib/u/var.mount", "[Mount]\nWhat=x\n");
    let loaded = tree.load("a.service");
    assert_eq!(loaded.spec.slice, Some(name("app-a.slice")));
    assert!(deps(&loaded.spec, DepKind::Requires).contains(&"var.mount"));
    assert_eq!(entries(&loaded), ["ExecStart=/x@0:5"]);
    tree.write("usr/lib/u/b.service", "[Service]\nSlice=b.service\n");
    let LoadState::BadSetting { reason } = tree.load("b.service").spec.load else {
        panic!()
    };
    assert!(
        reason.starts_with("/usr/lib/u/b.service:2: Slice=: "),
        "{reason}"
    );
}

#[test]
fn hostile_files_hurt_only_themselves() {
    let tree = Tree::new();
    tree.write("usr/lib/u/good.service", SERVICE);
    tree.write("usr/lib/u/big.service", vec![b'#'; 10 << 20]);
    let long = [&b"[Unit]\nDescription="[..], &vec![b'x'; 1 << 20]].concat();
    tree.write("usr/lib/u/line.service", long);
    tree.write("usr/lib/u/zero.service", b"[Unit]\n\0\0\0");
    let garbage: Vec<u8> = (0..65_536u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    tree.write("usr/lib/u/noise.service", garbage);
    tree.write("usr/lib/u/header.service", "[Unit\nDescription=x\n");
    tree.write("usr/lib/u/drop.service", SERVICE);
    tree.write("etc/u/drop.service.d/bad.conf", "[Service\n");
    for (unit, part) in [
        ("big", "10 MiB"),
        ("line", "line.service:2: the line has more than 1 MiB"),
        ("zero", "zero.service:2: found a NUL"),
        ("noise", "NUL"),
        ("header", "header.service:1: found “[Unit”"),
        ("drop", "/etc/u/drop.service.d/bad.conf:1: "),
    ] {
        let loaded = tree.load(&format!("{unit}.service"));
        let LoadState::Error { reason } = &loaded.spec.load else {
            panic!("{unit}")
        };
        assert!(reason.contains(part), "{unit}: {reason}");
    }
    assert_eq!(tree.load("good.service").spec.load, LoadState::Loaded);
}

#[test]
fn strange_sections_are_reported_once() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/a.service",
        "[Servcie]\nA=1\nB=2\n[Socket]\nC=1\n[X-Y]\nD=1\n[Service]\nE=1\n",
    );
    let loaded = tree.load("a.service");
    let found: Vec<_> = loaded
        .findings
        .iter()
        .map(|f| (f.line, f.text.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (2, "unknown section [Servcie]; ignored"),
            (
                5,
                "section [Socket] has no meaning in a .service unit; ignored"
            )
        ]
    );
    assert_eq!(entries(&loaded), ["E=1@0:9"]);
}

#[test]
fn strict_refuses_what_is_not_carried_out() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/a.service",
        "[Unit]\nSurviveFinalKillSignal=yes\n",
    );
    let mut loader = tree.loader();
    assert_eq!(loader.load(&name("a.service")).spec.load, LoadState::Loaded);
    loader.settings_mut().strict = true;
    let spec = loader.load(&name("a.service")).spec;
    assert!(
        spec.load
            .reason()
            .contains("/usr/lib/u/a.service:2: SurviveFinalKillSignal=")
    );
}

/// The directives the Debian packages' units of four daemons use, in units of our own.
#[test]
fn units_as_packages_ship_them() {
    let tree = Tree::new();
    tree.write(
        "usr/lib/u/webd.service",
        "# a comment with an = and a [bracket]\n[Unit]\nDescription=A web and proxy server\n\
         Documentation=man:webd(8)\nAfter=network-online.target remote-fs.target nss-lookup.target\n\
         Wants=network-online.target\n\n[Service]\nType=forking\nPIDFile=/run/webd.pid\n\
         ExecStartPre=/usr/sbin/webd -t -q -g 'daemon on; master_process on;'\n\
         ExecStart=/usr/sbin/webd -g 'daemon on; master_process on;'\n\
         ExecReload=/usr/sbin/webd -g 'daemon on;' -s reload\n\
         ExecStop=-/sbin/start-stop-daemon --quiet --stop --retry QUIT/5 --pidfile /run/webd.pid\n\
         TimeoutStopSec=5\nKillMode=mixed\n\n[Install]\nWantedBy=multi-user.target\n",
    );
    tree.write(
        "usr/lib/u/broker.service",
        "[Unit]\nDescription=MQTT broker\nDocumentation=man:broker.conf(5) man:broker(8)\n\
         After=network.target\nWants=network.target\n\n[Service]\nType=notify\nNotifyAccess=main\n\
         ExecStart=/usr/sbin/broker -c /etc/broker/broker.conf\nExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\nExecStartPre=/bin/mkdir -m 740 -p /var/log/broker\n\n[Install]\n\
         WantedBy=multi-user.target\n",
    );
    tree.write(
        "usr/lib/u/bear.service",
        "[Unit]\nDescription=Lightweight SSH server\nAfter=network.target\n\n[Service]\n\
         Environment=BEAR_PORT=22 BEAR_RECEIVE_WINDOW=65536\nEnvironmentFile=-/etc/default/bear\n\
         ExecStart=/usr/sbin/bear -EF -p \"$BEAR_PORT\" -W \"$BEAR_RECEIVE_WINDOW\" $BEAR_EXTRA_ARGS\n\
         KillMode=process\nRestart=always\n\n[Install]\nWantedBy=multi-user.target\n",
    );
    tree.write(
        "usr/lib/u/kv-server.service",
        "[Unit]\nDescription=Key-value store\nAfter=network.target\n\
         Documentation=http://kv.example/documentation, man:kv-server(1)\n\n[Service]\nType=notify\n\
         ExecStart=/usr/bin/kv-server /etc/kv.conf --supervised systemd --daemonize no\n\
         PIDFile=/run/kv/kv-server.pid\nTimeoutStopSec=0\nRestart=always\nUser=kv\nGroup=kv\n\
         RuntimeDirectory=kv\nRuntimeDirectoryMode=2755\nUMask=007\nPrivateTmp=true\n\
         LimitNOFILE=65535\nPrivateDevices=true\nProtectHome=true\nProtectSystem=strict\n\
         ReadWritePaths=-/var/lib/kv\nCapabilityBoundingSet=~CAP_SYS_PTRACE\n\
         SystemCallFilter=~@privileged @resources\n\n[Install]\nWantedBy=multi-user.target\n\
         Alias=kv.service\n",
    );
    for (unit, count) in [("webd", 8), ("broker", 6), ("bear", 5), ("kv-server", 18)] {
        let loaded = tree.load(&format!("{unit}.service"));
        assert_eq!(loaded.spec.load, LoadState::Loaded);
        assert!(loaded.findings.is_empty(), "{:?}", loaded.findings);
        assert_eq!(loaded.entries.len(), count, "{unit}");
        assert!(
            loaded
                .entries
                .iter()
                .all(|e| units::directives::is_known("Service", &e.key))
        );
    }
}

#[test]
fn a_target_does_not_wait_for_a_member_in_quarantine_nor_read_it() {
    let tree = Tree::new();
    tree.write("etc/u/x.target", "[Unit]\nWants=a.service b.service\n");
    for service in ["a.service", "b.service"] {
        tree.write(
            &format!("etc/u/{service}"),
            "[Service]\nExecStart=/bin/true\n",
        );
    }
    let mut loader = tree.loader();
    let mut target = loader.load_unordered(&name("x.target")).spec;
    assert!(!loader.quarantined(&name("a.service")).spec.load.is_loaded());
    loader.order(&mut target);
    let after: Vec<&UnitName> = target.deps_of(DepKind::After).collect();
    // Had it been read, it would be one to wait for.
    assert!(!after.contains(&&name("a.service")), "{after:?}");
    assert!(after.contains(&&name("b.service")), "{after:?}");
}
