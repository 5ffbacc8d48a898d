"""Random unit trees with what is to be done to them, each from its seed alone.

A tree is plain data, so that it can be made smaller and printed: units by name, each a list of
(section, directive, value), and commands, each (milliseconds after the beginning, words).

What systemd leaves open must not decide anything. So everything that a service does by itself takes
seconds that no other service takes, and lives end: a service that fails or ends by itself does so a few
times and then stays. Where two such moments meet all the same, the comparison sees it and leaves the tree
out.
"""

import random

SERVICE_TYPES = ["simple", "simple", "simple", "oneshot", "oneshot", "notify", "target"]

# (how likely, directive, directives for the order that go along or None to leave it to chance)
NEEDS = [
    (6, "Wants"), (6, "Requires"), (4, "BindsTo"), (2, "Requisite"), (3, "PartOf"), (2, "Upholds"),
    (2, "Conflicts"), (2, "PropagatesStopTo"), (1, "StopPropagatedFrom"), (2, "OnFailure"), (1, "OnSuccess"),
    (1, "PropagatesReloadTo"),
]  # fmt: skip

VERBS = [(8, "start"), (5, "stop"), (3, "restart"), (2, "try-restart"), (1, "reload-or-restart"),
         (1, "try-reload-or-restart"), (1, "reload"), (1, "isolate"), (1, "reset-failed")]  # fmt: skip

MODES = ["fail", "replace", "replace-irreversibly", "ignore-dependencies", "ignore-requirements", "flush"]
# Modes for one verb alone; everything else would be refused.
MODES_OF = {"start": ["restart-dependencies"], "stop": ["triggering"]}

QUIET = 200_000  # milliseconds until everything a command has set off is over


class Generator:
    def __init__(self, seed):
        self.random = random.Random(f"tree {seed}")
        self.seed = seed
        self.used = set()

    def pick(self, weighted):
        return self.random.choices([item[1] for item in weighted], [item[0] for item in weighted])[0]

    def chance(self, percent):
        return self.random.random() * 100 < percent

    def seconds(self, low, high):
        """A time in milliseconds that is a whole number of seconds and was not given out yet."""
        while (value := self.random.randint(low, high) * 1000) in self.used:
            high += 1  # all of them may be taken
        self.used.add(value)
        return value

    # ---- services --------------------------------------------------------------------------------

    def term(self):
        return self.random.choices(["", f"term={self.seconds(3, 60)},", "deaf,"], [70, 26, 4])[0]

    def oneshot(self):
        good, bad = (lambda: f"{self.term()}sleep={self.seconds(5, 80)},exit=0"), (lambda: f"{self.term()}sleep={self.seconds(5, 80)},exit={self.random.randint(1, 3)}")
        return [bad() if self.chance(35) else good() for _ in range(self.random.randint(1, 2))] + [good()]

    def simple(self):
        lives = []
        for _ in range(self.random.choice([0, 0, 0, 1, 1, 2, 3])):
            status = 0 if self.chance(40) else self.random.randint(1, 3)
            lives.append(f"{self.term()}sleep={self.seconds(5, 90)},exit={status}")
        return [*lives, f"{self.term()}hold"]

    def notify(self):
        lives = []
        for _ in range(self.random.choice([0, 0, 1, 2])):
            status = 0 if self.chance(40) else self.random.randint(1, 3)
            ready = f"sleep={self.seconds(5, 60)},ready," if self.chance(60) else ""
            lives.append(f"{self.term()}{ready}sleep={self.seconds(5, 90)},exit={status}")
        return [*lives, f"{self.term()}sleep={self.seconds(5, 60)},ready,hold"]

    def service(self, name, kind):
        lines = [("Service", "Type", kind)]
        lives = {"oneshot": self.oneshot, "simple": self.simple, "notify": self.notify}[kind]()
        lines.append(("Service", "ExecStart", f"/diff/act {name} {' '.join(lives)}"))
        if self.chance(50 if kind == "oneshot" else 8):
            lines.append(("Service", "RemainAfterExit", "yes"))
        if self.chance(40):
            policies = ["on-failure"] if kind == "oneshot" else ["on-failure", "always", "on-success", "on-abnormal"]
            lines.append(("Service", "Restart", self.random.choice(policies)))
            lines.append(("Service", "RestartSec", f"{self.seconds(5, 40) // 1000}"))
            if self.chance(20):
                lines.append(("Service", "RestartMode", "direct"))
        if self.chance(8):
            lines.append(("Service", "TimeoutStartSec", f"{self.seconds(5, 40) // 1000}"))
        if self.chance(10):
            lines.append(("Service", "SuccessExitStatus", "2"))
        for directive, percent in (("ExecStartPre", 8), ("ExecStartPost", 5), ("ExecStop", 8), ("ExecStopPost", 8), ("ExecReload", 20)):
            if self.chance(percent):
                status = 1 if self.chance(15) else 0
                lines.append(("Service", directive, f"/diff/act {name}:{directive[4:].lower()} sleep={self.seconds(3, 30)},exit={status}"))
        return lines

    # ---- units -----------------------------------------------------------------------------------

    def options(self, kind):
        lines = [("Unit", "DefaultDependencies", "no")] if not self.chance(10) else []
        for directive, value, percent in (
            ("StopWhenUnneeded", "yes", 6), ("RefuseManualStart", "yes", 4), ("IgnoreOnIsolate", "yes", 12),
            ("ConditionPathExists", "/nowhere", 4), ("AssertPathExists", "/nowhere", 3),
            ("JobTimeoutSec", f"{self.seconds(10, 60) // 1000}", 3),
        ):  # fmt: skip
            if self.chance(percent):
                lines.append(("Unit", directive, value))
        if kind == "target" and self.chance(60) or self.chance(5):
            lines.append(("Unit", "AllowIsolate", "yes"))
        if self.chance(12):
            lines += [("Unit", "StartLimitBurst", f"{self.random.randint(1, 3)}"), ("Unit", "StartLimitIntervalSec", "3600")]
        return lines

    def relations(self, names):
        """For each unit what it says of others. Order always follows one permutation: no cycles."""
        said = {name: [] for name in names}
        density = self.random.choice([0.15, 0.25, 0.4])
        for later in range(len(names)):
            for earlier in range(later):
                if not self.chance(density * 100):
                    if self.chance(5):
                        said[names[later]].append(("Unit", "After", names[earlier]))
                    continue
                who, whom = (later, earlier) if self.chance(80) else (earlier, later)
                said[names[who]].append(("Unit", self.pick(NEEDS), names[whom]))
                if self.chance(65):
                    line = (names[later], "After", names[earlier]) if self.chance(60) else (names[earlier], "Before", names[later])
                    said[line[0]].append(("Unit", *line[1:]))
        return said

    def units(self):
        count = self.random.randint(3, 10)
        names = []
        for index in range(count):
            kind = self.random.choice(SERVICE_TYPES)
            suffix = "target" if kind == "target" else "service"
            names.append((f"s{self.seed}-{chr(97 + index)}.{suffix}", kind))
        self.random.shuffle(names)
        relations = self.relations([name for name, _ in names])
        units = {}
        for name, kind in sorted(names):
            lines = self.options(kind) + relations[name]
            if kind != "target":
                lines += self.service(name.partition(".")[0], kind)
            units[name] = lines
        return units

    # ---- commands --------------------------------------------------------------------------------

    def command(self, names):
        verb = self.pick(VERBS)
        targets = [name for name in names if name.endswith(".target")]
        if verb == "isolate":
            return [verb, self.random.choice(targets or names)]
        words = [verb, self.random.choice(names)]
        if self.chance(12):
            words.append(self.random.choice([name for name in names if name != words[1]]))
        if verb != "reset-failed" and self.chance(25):
            words.insert(1, f"--job-mode={self.random.choice(MODES + 2 * MODES_OF.get(verb, []))}")
        if self.chance(20):
            words.insert(1, "--no-block")
        return words

    def commands(self, names):
        at = 500
        commands = []
        for _ in range(self.random.randint(3, 7)):
            commands.append((at, self.command(names)))
            # Half a second beyond a whole one: between what services do by themselves.
            at += (self.random.randint(2, 40) if self.chance(65) else 130) * 1000
        return commands

    def tree(self):
        units = self.units()
        return {"seed": self.seed, "units": units, "commands": self.commands(sorted(units))}


def generate(seed):
    return Generator(seed).tree()


# ---- written out -------------------------------------------------------------------------------------


def unit_file(lines):
    text = []
    for section in ("Unit", "Service"):
        own = [f"{directive}={value}" for where, directive, value in lines if where == section]
        if own:
            text += [f"[{section}]", *own]
    return "\n".join(text) + "\n"


def script(tree):
    """The commands for the driver in the guest, which reads them as a shell script."""
    lines = [f"run {number} {at} {' '.join(words)}" for number, (at, words) in enumerate(tree["commands"])]
    last = tree["commands"][-1][0] if tree["commands"] else 0
    return "\n".join([*lines, f"until_ms {last + QUIET}"]) + "\n"


def describe(tree):
    """The tree for people."""
    parts = [f"# {name}\n{unit_file(lines)}" for name, lines in tree["units"].items()]
    parts += [f"# at {at / 1000:g} s: {' '.join(words)}\n" for at, words in tree["commands"]]
    return "".join(parts)
