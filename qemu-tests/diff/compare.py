"""What a guest said of each tree, and whether two guests said the same.

Compared are, for each unit: load, active and sub state, result, restarts; every start, step and end of its
processes with its time; and the exit status and the end of each command. Times must agree within SLACK:
systemd's timers may be a quarter of a second late, and each command costs it some hundredths. Within that,
only an order that the unit files ask for counts.
"""

import collections
import re

SLACK = 1500  # ms
CLOSE = 400  # ms: two moments that are nearer may come in either order

Record = collections.namedtuple("Record", "commands said events units trouble")


def read(console):
    """The records of all trees on a guest's console, by seed; and its last words if it did not finish."""
    records, current = {}, None
    start = 0
    block = {}
    for line in console.splitlines():
        match = re.match(r"@@ (\w+) ?(.*)", line)
        if not match:
            continue
        kind, rest = match[1], match[2]
        words = rest.split()
        if kind == "tree":
            current = Record({}, collections.defaultdict(list), [], {}, [])
            start, block = int(words[1]), {}
            seed = int(words[0])
        elif kind == "command":
            current.commands[int(words[0])] = (int(words[1]), int(words[2]))
        elif kind == "said":
            current.said[int(words[0])].append(rest.partition(" ")[2])
        elif kind == "event":
            current.events.append((int(words[2]) - start, words[0], words[1]))
        elif kind == "show":
            key, equals, value = rest.partition("=")
            if equals and key == "Id":
                block["Id"] = value
            elif equals:
                block[key] = value
            if not rest.strip():
                _close(current, block)
                block = {}
        elif kind in ("restless", "job", "trouble"):
            current.trouble.append(line[3:])
        elif kind == "done":
            _close(current, block)
            records[seed] = current
    return records


def _close(record, block):
    if "Id" in block:
        record.units[block.pop("Id")] = block


# What is meant to differ, by docs/differences.md, and decides the rest of the tree: each rule looks at the tree and at
# the record of it, systemd's as a rule, and says whether it came to that.


def _values(tree, unit, *directives):
    return [value for _, directive, value in tree["units"].get(unit, []) if directive in directives]


def _service(unit):
    return unit.partition(".")[0]


def _pulled_in(tree, units, *directives):
    """These units, and what they pull in over such directives."""
    found, open_ = set(), list(units)
    while open_:
        unit = open_.pop()
        if unit not in found:
            found.add(unit)
            open_ += _values(tree, unit, *directives)
    return found


def given_up_restart(tree, record):
    """A restart that is given up is no success: in systemd its OnSuccess= units start."""
    for unit in tree["units"]:
        restarts = _values(tree, unit, "Restart")
        for other in _values(tree, unit, "OnSuccess") if restarts else []:
            for at in [at for at, who, event in record.events if who == _service(other) and event == "begin"]:
                own = [(when, event) for when, who, event in record.events if _service(who).partition(":")[0] == _service(unit) and when < at]
                commanded = any(0 <= at - when < CLOSE for when, _ in tree["commands"])
                if commanded and own and own[-1][1].startswith("exit") and at - own[-1][0] > CLOSE:
                    return True
    return False


def one_by_one(tree, record):
    """Units of one command are started one by one: what one of them needs to be up already may be what the next one
    starts."""
    needs = "Requires", "BindsTo", "Wants", "Upholds"
    for _, words in tree["commands"]:
        units = _units(words) if "start" in words[0] else []
        for index in range(1, len(units)):
            verified = {value for unit in _pulled_in(tree, units[:index], *needs) for value in _values(tree, unit, "Requisite")}
            if verified & _pulled_in(tree, units[index:], *needs):
                return True
    return False


def reload_during_start(tree, record):
    """A reload during the start follows it: in systemd it is done when the start is."""
    for at, words in tree["commands"]:
        units = _pulled_in(tree, _units(words), "PropagatesReloadTo") if "reload" in words[0] else []
        if any(_is_starting(tree, record, unit, at) for unit in units):
            return True
    return False


def _is_starting(tree, record, unit, at):
    """Whether a step of the unit's start is under way at this moment."""
    name = _service(unit)
    last = {"notify": ("ready",), "oneshot": ()}.get("".join(_values(tree, unit, "Type")), ("begin",))
    for who, done in (f"{name}:startpre", ()), (name, last), (f"{name}:startpost", ()):
        own = [event for when, of, event in record.events if of == who and when <= at + CLOSE]
        # (A step's end is its exit or the like; its beginning alone leaves it under way.)
        if own and own[-1] == "begin" and "begin" not in done:
            return True
    return False


def unordered_requisite(tree, record):
    """Of a Requisite= without an order it is open whether it is verified in time."""
    for unit in tree["units"]:
        ordered = {name for pair in order(tree) if _service(unit) in pair for name in pair}
        for other in _values(tree, unit, "Requisite"):
            if _service(other) in ordered:
                continue
            for at in [at for at, who, event in record.events if who == _service(unit) and event == "begin"]:
                theirs = [event for when, who, event in record.events if who == _service(other) and when <= at + CLOSE]
                if not theirs or theirs[-1] == "end" or theirs[-1].startswith("exit"):
                    return True
    return False


def garbage_of_isolation(tree, record):
    """Jobs that have lost their cause are left out in mode isolate as well: systemd refuses for them."""
    for number, (_, words) in enumerate(tree["commands"]):
        if words[0] == "isolate" and any("conflicting jobs" in line for line in record.said.get(number, [])):
            return True
    return False


def flush_of_nothing(tree, record):
    """A flush with nothing to do cancels nothing: in systemd it does."""
    flushes = [at for at, words in tree["commands"] if "--job-mode=flush" in words]
    canceled = [record.commands[number][1] for number, lines in record.said.items() if any("canceled" in line for line in lines)]
    return any(0 <= end - at < CLOSE for at in flushes for end in canceled)


def decided(tree, theirs, ours):
    """What is meant to differ and decides the rest of the tree, in words, or None."""
    found = [rule for rule in DECIDED if rule(tree, theirs) or rule is unordered_requisite and rule(tree, ours)]
    return " ".join(found[0].__doc__.split()) if found else None


DECIDED = (given_up_restart, one_by_one, reload_during_start, unordered_requisite, garbage_of_isolation, flush_of_nothing)


def racy(tree, record):
    """Why nobody can say what should happen, or None: two moments that come by themselves, or one and a
    command, are too near to each other; or nothing came to rest."""
    moments = [(at, "command") for at, _ in tree["commands"]]
    for at, who, event in record.events:
        if event in ("ready", "end") or event.startswith("exit"):
            moments.append((at, who.partition(":")[0]))
    moments.sort()
    for (first, who), (second, whom) in zip(moments, moments[1:]):
        if second - first < CLOSE and who != whom:
            return f"{who} and {whom} both at {second / 1000:.1f} s"
    return "; ".join(record.trouble) or None


def without_stillborn(tree, record):
    """The record without services that were ended in the moment of their start: how far they came is chance.
    None if that decides how the next start goes on."""
    events = list(record.events)
    for index, (at, who, event) in enumerate(record.events):
        if event != "term":
            continue
        begun = max((i for i in range(index) if record.events[i][1:] == (who, "begin")), default=None)
        if begun is not None and at - record.events[begun][0] < CLOSE:
            if _behaviours(tree, who) > 1:
                return None
            events[begun] = events[index] = None
            for after in range(index, len(events)):
                if events[after] and events[after][1] == who:
                    if events[after][2] == "end":
                        events[after] = None
                    break
    return record._replace(events=[event for event in events if event])


def _behaviours(tree, who):
    lines = tree["units"].get(f"{who}.service", [])
    return max((len(value.split()) - 2 for _, directive, value in lines if directive == "ExecStart"), default=1)


PROPERTIES = ["LoadState", "ActiveState", "SubState", "Result", "NRestarts"]


def differences(tree, theirs, ours):
    """Sentences on what is different."""
    found = []
    for number, (at, words) in enumerate(tree["commands"]):
        left, right = theirs.commands.get(number), ours.commands.get(number)
        command = f"{' '.join(words)} (at {at / 1000:g} s)"
        if left is None or right is None:
            if left != right:
                found.append(f"{command}: systemd {_end(left)}, ours {_end(right)}")
        elif left[0] != right[0]:
            # (Refused at once there, the job may have to wait for its turn here.)
            if not _documented(tree, words, left[0], right[0]):
                status = f"status: systemd {left[0]}, ours {right[0]}"
                found.append(f"{command}: {status}\n" + _said(theirs, ours, number))
        # Of several units one may be refused: systemctl then still waits for the others.
        elif abs(left[1] - right[1]) > SLACK and not (left[0] and len(_units(words)) > 1):
            found.append(f"{command}: ended: systemd at {left[1] / 1000:.1f} s, ours at {right[1] / 1000:.1f} s")
    for unit in tree["units"]:
        left, right = theirs.units.get(unit, {}), ours.units.get(unit, {})
        for name in PROPERTIES:
            # systemd has forgotten the restarts of a unit that is down as soon as nothing refers to it.
            if name == "NRestarts" and ("inactive" in (left.get("ActiveState"), right.get("ActiveState")) or _hurried(tree, theirs, unit)):
                continue
            if name in left and left[name] != right.get(name):
                found.append(f"{unit}: {name}: systemd {left.get(name)}, ours {right.get(name)}")
    # What is left of the tree before is none of this one's.
    prefix = f"s{tree['seed']}-"
    theirs, ours = (side._replace(events=[e for e in side.events if e[1].startswith(prefix)]) for side in (theirs, ours))
    return found + _events(theirs, ours) + _order(tree, theirs, ours)


def _hurried(tree, record, unit):
    """Whether the unit was started while it waited for its restart, which is none then."""
    waits = max([int(value) * 1000 for value in _values(tree, unit, "RestartSec")], default=0)
    own = [(at, event) for at, who, event in record.events if who.partition(":")[0] == _service(unit)]
    return any(
        before[1].startswith("exit") and at[1] == "begin" and at[0] - before[0] < waits - CLOSE for before, at in zip(own, own[1:])
    )


def _documented(tree, words, theirs, ours):
    """Whether docs/differences.md says so of these exit statuses: systemd knows at once that a unit cannot be reloaded, and
    does not know units any more that are down."""
    # Refused one of several units, the command ends with that; systemctl goes on and ends with what went wrong last.
    if len(_units(words)) > 1 and theirs and ours:
        return True
    if words[0] == "reload":
        return (theirs, ours) == (3, 0 if "--no-block" in words else 1)
    # What cannot be reloaded is restarted, and that is forbidden. Here a unit that is down is left as it is.
    if words[0] == "try-reload-or-restart" and (theirs, ours) == (4, 0):
        return any(_values(tree, unit, "RefuseManualStart", "RefuseManualStop") for unit in _units(words))
    # The first start's job, which has nothing to do, is cancelled there by the second's flush.
    flushed = "--job-mode=flush" in words and (theirs, ours) == (1, 0)
    return flushed or words[0] == "reset-failed" and (theirs, ours) == (1, 0)


def _units(words):
    return [word for word in words[1:] if not word.startswith("--")]


def _end(command):
    return "did not end" if command is None else f"ended with {command[0]} at {command[1] / 1000:.1f} s"


def _said(theirs, ours, number):
    return "\n".join([f"      systemd: {line}" for line in theirs.said[number]] + [f"      ours: {line}" for line in ours.said[number]])


def _events(theirs, ours):
    found = []
    left, right = _by_name(theirs), _by_name(ours)
    for key in sorted({*left, *right}):
        there, here = left.get(key, []), right.get(key, [])
        if len(there) != len(here) or any(abs(a - b) > SLACK for a, b in zip(there, here)):
            found.append(f"{' '.join(key)}: systemd at {_times(there)}, ours at {_times(here)}")
    return found


def _by_name(record):
    named = collections.defaultdict(list)
    for at, who, event in record.events:
        named[who, event].append(at)
    return named


def _times(times):
    return ", ".join(f"{at / 1000:.1f}" for at in times) + " s" if times else "never"


def _order(tree, theirs, ours):
    """Of what happens at nearly the same time, what must not be the other way round: of two units in an
    order, where one begins at the moment at which the other ends a step."""
    found = []
    for earlier, later in order(tree):
        for one, other in ((earlier, later), (later, earlier)):
            wrong = _begins_before_end(ours, one, other) - _begins_before_end(theirs, one, other)
            if wrong:
                found.append(f"{other} begins before {one} is done, at {_times(sorted(wrong))}; systemd waits")
    return found


def order(tree):
    """Pairs (earlier, later) of service names."""
    for unit, lines in tree["units"].items():
        for _, directive, value in lines:
            if directive in ("After", "Before"):
                pair = (value, unit) if directive == "After" else (unit, value)
                yield tuple(name.partition(".")[0] for name in pair)


def _begins_before_end(record, one, other):
    """Moments (to the second) at which `other` begins just before `one` ends a step."""
    ends = [(index, at) for index, (at, who, event) in enumerate(record.events) if who == one and event not in ("begin", "term")]
    begins = [(index, at) for index, (at, who, event) in enumerate(record.events) if who == other and event == "begin"]
    return {round(at / 1000) for index, at in begins for end, when in ends if index < end and when - at < CLOSE}
