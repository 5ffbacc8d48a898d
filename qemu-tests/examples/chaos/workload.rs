//! What runs in the machine. Every step of every unit leaves a line in `/run/chaos/UNIT`: the step, the
//! invocation, and for what runs after the end of a main process how that ended.

use qemu_tests::{Machine, Setup};

/// Services nobody touches.
pub const STEADY: usize = 4;
/// Services that are started, stopped, restarted and reloaded.
pub const WORKERS: usize = 4;
/// Services whose processes are killed, and which are to be restarted.
pub const MORTALS: usize = 3;

/// `step UNIT STEP SECONDS`. The main process holds a lock for as long as it lives.
const STEP: &str = r#"
echo "$2 $INVOCATION_ID $EXIT_CODE/$EXIT_STATUS" >> /run/chaos/$1
case $2 in main)
    exec 9> /run/chaos/$1.lock
    flock -n 9 || echo "double $INVOCATION_ID" >> /run/chaos/$1
    exec sleep $3 ;;
esac
sleep $3"#;

/// Numbers each thing it says, and goes on only when the last of a handful was heard: it was if `seen` says
/// so. Deposits a descriptor at first, and wants it back ever after. Writes to its output all the time.
const NOTIFIER: &str = r#"
import array, os, random, select, socket, sys, time
D = "/run/chaos/"
def complain(text):
    with open(D + "notifier.lost", "a") as f: f.write(text + "\n")
def number(name):
    try: return int(open(D + name).read() or 0)
    except FileNotFoundError: return 0
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
def say(text, *fds):
    aux = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try: s.sendmsg([text.encode()], aux, 0, os.environ["NOTIFY_SOCKET"])
    except OSError as e: complain("said %s: %s" % (text.split("\n")[0], e))
def write(name, text):
    with open(D + name + ".new", "w") as f: f.write(text)
    os.rename(D + name + ".new", D + name)
if os.path.exists(D + "deposited"):
    if os.environ.get("LISTEN_FDNAMES") != "kept": complain("deposit")
else:
    say("FDSTORE=1\nFDNAME=kept", os.memfd_create("kept"))
    r, w = os.pipe()
    say("BARRIER=1", w)
    os.close(w)
    if select.select([r], [], [], 30)[0]: write("deposited", "")
    else: complain("barrier")
say("READY=1")
n = number("said")
while True:
    while number("seen") < n:
        say("STATUS=%d" % n)
        until = time.monotonic() + 30
        while number("seen") < n and time.monotonic() < until: time.sleep(0.01)
    for _ in range(random.randrange(1, 30)):
        n += 1
        say("STATUS=%d" % n)
        print("line", n, flush=True)
        time.sleep(random.random() / 200)
    write("said", str(n))
    until = time.monotonic() + 30
    while number("seen") < n and time.monotonic() < until: time.sleep(0.01)
"#;

/// Answers each connection with what the client said.
const SERVER: &str = r#"
import fcntl, os, socket
def mark(text):
    with open("/run/chaos/echo", "a") as log: log.write("%s %s /\n" % (text, os.environ["INVOCATION_ID"]))
mark("main")
lock = open("/run/chaos/echo.lock", "w")
try: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError: mark("double")
listener = socket.socket(fileno=3)
listener.setblocking(True)
while True:
    conn, _ = listener.accept()
    said = conn.recv(100)
    conn.sendall(said)
    conn.close()
    if said.startswith(b"end"): os._exit(0)
"#;

/// The sleep that is the main process of a unit.
pub fn worker_sleep(number: usize) -> String {
    format!("sleep 8880{number}")
}

/// See [`worker_sleep`].
pub fn mortal_sleep(number: usize) -> String {
    format!("sleep 8890{number}")
}

/// Writes units and scripts.
pub fn lay_out(setup: &Setup) {
    for program in ["sysmaster", "service", "socket"] {
        setup.file(&format!("boundaries/{program}"), "0");
    }
    setup.script("usr/bin/step", STEP);
    setup.file("usr/bin/notifier.py", NOTIFIER);
    setup.file("usr/bin/server.py", SERVER);
    setup.script("usr/bin/prepare", "mkdir -p /run/chaos");
    let unit = "[Unit]\nStartLimitIntervalSec=0\nRequires=prepare.service\nAfter=prepare.service\n[Service]\n";
    setup.wanted(
        "prepare.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/prepare\n",
    );
    for number in 0..STEADY {
        setup.wanted(
            &format!("steady{number}.service"),
            &format!("[Service]\nExecStart=/bin/sleep 7700{number}\n"),
        );
    }
    let kinds = ["simple", "exec"];
    for (number, kind) in (0..WORKERS).zip(kinds.iter().cycle()) {
        let name = format!("worker{number}");
        setup.unit(
            &format!("{name}.service"),
            &format!(
                "{unit}Type={kind}\nExecStartPre=/usr/bin/step {name} pre 0.05\nExecStart=/usr/bin/step {name} main 8880{number}\n\
                 ExecStartPost=/usr/bin/step {name} started 0.01\nExecReload=/usr/bin/step {name} reload 0.05\n\
                 ExecStop=/usr/bin/step {name} stop 0.05\nExecStopPost=/usr/bin/step {name} post 0.01\n"
            ),
        );
    }
    for number in 0..MORTALS {
        let name = format!("mortal{number}");
        setup.wanted(
            &format!("{name}.service"),
            &format!(
                "{unit}Restart=always\nRestartSec=0\nExecStartPre=/usr/bin/step {name} pre 0\n\
                 ExecStart=/usr/bin/step {name} main 8890{number}\nExecStopPost=/usr/bin/step {name} post 0\n"
            ),
        );
    }
    setup.unit(
        "once.service",
        &format!("{unit}Type=oneshot\nExecStart=/usr/bin/step once run 0.1\n"),
    );
    setup.unit(
        "first.service",
        &format!("{unit}Type=oneshot\nExecStart=/usr/bin/step first run 0.2\n"),
    );
    setup.unit(
        "second.service",
        &unit
            .replace(
                "[Service]",
                "Requires=first.service\nAfter=first.service\n[Service]",
            )
            .replace(
                "\n[Service]\n",
                "\n[Service]\nType=oneshot\nExecStart=/usr/bin/step second run 0.05\n",
            ),
    );
    setup.wanted(
        "notifier.service",
        &format!(
            "{unit}Type=notify\nNotifyAccess=main\nFileDescriptorStoreMax=4\nRestart=always\nRestartSec=0\n\
             ExecStart=/usr/bin/python3 /usr/bin/notifier.py\n"
        ),
    );
    setup.wanted("echo.socket", "[Unit]\nStartLimitIntervalSec=0\n[Socket]\nListenStream=/run/echo.sock\nTriggerLimitIntervalSec=0\n");
    setup.unit(
        "echo.service",
        &format!("{unit}ExecStart=/usr/bin/python3 /usr/bin/server.py\n"),
    );
}

/// Waits until it is up.
pub fn wait_up(machine: &Machine) {
    machine.wait("the workload is up", || {
        machine.running("sleep 7700").len() == STEADY
            && machine.running("sleep 8890").len() == MORTALS
            && machine.path("run/chaos/deposited").exists()
            && machine.sctl(&["is-system-running"]).out == "running\n"
    });
}
