//! The helper under test: a type whose units are one process each.

use super::*;

/// Forks one child for each command. The name of the command's unit says where the child waits
/// for the test to open its gate.
pub struct Toy {
    pub base: PathBuf,
    pub slots: Vec<(u32, SlotId)>,
}

pub const REVOKED_CODE: i32 = 99;

/// Waits until the test opens the gate's other end.
pub fn wait_at(gate: &Path) {
    drop(std::fs::File::open(gate));
}

impl Toy {
    pub fn report(context: &mut Context<'_>, sub: String, main: Option<ProcId>) {
        let report = Report {
            unit: sub.clone(),
            sub,
            main,
            ..Report::default()
        };
        context.send(FromHelper::Report(report));
    }

    pub fn fork(&mut self, command: &Command, context: &mut Context<'_>) {
        let attempt = Attempt {
            unit: 1,
            seq: command.seq,
            step: 7,
            ..Attempt::default()
        };
        let id = context.journal.slots.claim(&attempt).unwrap();
        if command.unit == "die-before-fork" {
            process::kill_child(process::own_pid(), signal::SIGKILL).unwrap();
        }
        let gate = self.base.join("gate");
        let hold = command.unit.as_str();
        let slots = &context.journal.slots;
        let made = process::spawn(None, |_| {
            if hold == "before-fill" {
                wait_at(&gate);
            }
            if !slots.fill(id, process::own().into()) {
                return REVOKED_CODE;
            }
            if hold == "before-exec" {
                wait_at(&gate);
            }
            let _ = child::reset_signals(false);
            slots.started(id);
            let mut arguments = child::Strings::new();
            let seconds: &[u8] = if hold == "short" { b"0" } else { b"1000" };
            for argument in [b"sleep", seconds] {
                arguments.push(argument).unwrap();
            }
            child::close_at_exec(3, &[]);
            child::execute(c"/bin/sleep", &mut arguments, &mut child::Strings::new());
            1
        });
        let pid = made.unwrap().pid;
        self.slots.push((pid, id));
        Self::report(context, format!("forked {pid}"), None);
    }
}

impl UnitType for Toy {
    fn name(&self) -> &'static str {
        "toy"
    }
    fn adopt(&mut self, context: &mut Context<'_>) {
        for id in context.journal.slots.in_use() {
            let (word, main) = match context.journal.slots.revoke(id) {
                SlotState::Revoked => ("revoked", None),
                SlotState::Filled(proc) => ("filled", Some(proc)),
                SlotState::Started(proc) => ("started", Some(proc)),
                _ => ("other", None),
            };
            context
                .journal
                .records
                .put(2, 0, 0, word.as_bytes())
                .unwrap();
            self.slots.push((main.map_or(0, |proc| proc.pid), id));
        }
    }
    fn welcome(&mut self, _: &HelperConfig, _: &mut Context<'_>) {}
    fn message(&mut self, message: Message, context: &mut Context<'_>) {
        match message {
            Message::Command(command) => self.fork(&command, context),
            Message::Sync => {
                let found = context
                    .journal
                    .records
                    .records()
                    .map(|record| record.payload);
                for text in found.collect::<Vec<_>>() {
                    Self::report(context, String::from_utf8(text).unwrap(), None);
                }
            }
            _ => {}
        }
    }
    fn exited(&mut self, proc: ProcId, status: i32, context: &mut Context<'_>) {
        if let Some((_, id)) = self.slots.iter().find(|(pid, _)| *pid == proc.pid) {
            context.journal.slots.exited(*id, proc, status);
        }
        let text = format!("exited {} {status}", proc.pid);
        context
            .journal
            .records
            .put(1, 0, u64::from(proc.pid), text.as_bytes())
            .unwrap();
        Self::report(context, text, None);
    }
    fn ready(&mut self, _: Ready, _: &mut Context<'_>) {}
    fn tick(&mut self, _: Micros, _: &mut Context<'_>) {}
    fn deadline(&self) -> Option<Micros> {
        None
    }
}
