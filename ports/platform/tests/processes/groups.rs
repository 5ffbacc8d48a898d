//! Control groups: who is born in one, and how all in it die.

use super::*;

pub fn birth_and_death_in_a_group() {
    let Some(hierarchy) = cgroup::detect() else {
        println!("  skipped: there is no cgroup2 hierarchy here");
        return;
    };
    let path = hierarchy
        .mount
        .join(format!("platform-test-{}", process::own_pid()));
    let group = match cgroup::Group::create(&path.join("a.slice/b.service")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            println!("  skipped: {error}");
            return;
        }
        other => other.unwrap(),
    };
    let mut poller = Poller::new(&[]).unwrap();
    let watch = group.watch().unwrap();
    poller.add(&watch, 9, cgroup::watch_interest()).unwrap();
    assert!(!group.is_populated().unwrap());
    let sub = cgroup::Group::create(&group.path().join("sub")).unwrap();
    for target in [&group, &sub] {
        let made = process::spawn(Some(target.as_fd()), |_| {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() }
        })
        .unwrap();
        if !made.in_group {
            target.attach(made.pid).unwrap();
        }
        assert!(group.contains(&hierarchy.mount, made.pid));
    }
    assert!(!group.contains(&hierarchy.mount, process::own_pid()));
    assert_eq!(group.members().unwrap().len(), 1);
    assert_eq!(group.all_members().unwrap().len(), 2);
    assert!(group.is_populated().unwrap());
    assert!(cgroup::remove(&path).is_err(), "it has members");
    group.kill().unwrap();
    // The watch tells when it is empty; children come as events of their own.
    let mut events = Vec::new();
    while cgroup::rearm(&watch).unwrap() {
        poller
            .wait(Some(clock::now() + 10_000_000), &mut events)
            .unwrap();
        assert!(!events.is_empty(), "the group did not say that it is empty");
    }
    for _ in 0..2 {
        let exit = next_exit(&mut poller);
        assert_eq!(exit.status, signal::SIGKILL);
        process::reap(exit.proc.pid).unwrap();
    }
    assert_eq!(group.signal(signal::SIGKILL, &[]).unwrap(), 0);
    drop((group, sub));
    cgroup::remove(&path).unwrap();
    assert!(!path.exists());
    cgroup::remove(&path).unwrap();
}
