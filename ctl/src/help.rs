//! `sctl help`, and `sctl help COMMAND`.

use crate::commands::{COMMANDS, Command};
use std::fmt::Write;

const HEAD: &str = "\
sctl [OPTION…] COMMAND [NAME…]

Speaks to sysmaster, or works on the links of an installation. A name without
a type is a service; patterns (*, ?, […]) stand for the loaded units they match.

";

const OPTIONS: &str = "
  -a --all             also what is usually left out
     --failed          only units that have failed
  -t --type=TYPE,…     only units of these types
     --state=STATE,…   only units in these states
  -p --property=NAME,… only these properties
  -n --lines=N         status: lines of its output, where that goes into a file
     --value           values without names
     --reverse         list-dependencies: who needs it
     --after, --before list-dependencies: by order instead of need
     --no-block        do not wait for jobs
     --atomic          start: all units, or none: what was started is stopped again
     --job-mode=MODE   fail, replace, replace-irreversibly, isolate, flush,
                       ignore-dependencies, ignore-requirements, triggering,
                       restart-dependencies
  -s --signal=SIGNAL   kill: which signal
     --kill-whom=WHOM  kill: all, main or control
     --now             enable, disable, mask: start or stop as well
     --runtime         enable, mask: until the next boot only
     --preset-mode=MODE preset-all: full, enable-only or disable-only
     --only=WHAT       upgrade: sysmaster, init, or helper TYPE alone
     --trial=SECONDS   upgrade: how long it has to prove good, 120 unless said
     --root=DIR        work on the installation below DIR
  -f --force           go through with it
     --json            JSON, one value on one line
  -q --quiet           errors only
     --full, --plain, --no-legend, --colour=always|never|auto
     --socket=PATH     the manager's socket (or SYSMASTER_SOCKET)
     --timeout=SECONDS how long to wait for a manager that does not answer

Exit status: 0 done; 1 failed, or no; 3 not active; 4 no such unit (status,
is-active) or no permission; 5 no such unit; 6 the unit cannot be loaded.
";

/// The overview.
pub fn overview() -> String {
    let mut out = HEAD.to_owned();
    for command in COMMANDS.iter().filter(|command| !command.about.is_empty()) {
        let left = format!("{} {}", command.name, command.words);
        let _ = writeln!(out, "  {left:<31} {}", command.about);
    }
    out.push_str(OPTIONS);
    out
}

/// What one command takes and does, and the options that are for it alone.
pub fn of(command: &Command) -> String {
    // Another name of a command that is in the overview.
    let named = COMMANDS
        .iter()
        .find(|other| other.verb == command.verb && !other.about.is_empty());
    let command = named.unwrap_or(command);
    let mut out = [
        "sctl [OPTION…] ",
        command.name,
        " ",
        command.words,
        "\n\n  ",
        command.about,
        "\n\n",
    ]
    .concat();
    for line in OPTIONS.lines().filter(|line| is_for(line, command.name)) {
        out.push_str(line);
        out.push('\n');
    }
    out.push_str("\nMore: sctl(1); all options: sctl help\n");
    out
}

/// Whether a line of the options says that it is for this command: `enable, mask: …`.
fn is_for(line: &str, command: &str) -> bool {
    let head = line
        .strip_prefix("  ")
        .and_then(|line| line.split_once(": "));
    head.is_some_and(|(head, _)| head.split([' ', ',']).any(|word| word == command))
}
