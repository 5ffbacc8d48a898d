#!/usr/bin/env python3
"""The benchmarks: boots the real init, manager and helper in QEMU, counting instructions.

Each measurement is one boot of a small guest (see meter.c) with N services that write their start
time to a FIFO. QEMU runs with -icount shift=0: a guest nanosecond is one instruction, idle time is
skipped, so "ms" below means millions of instructions of all tasks, and repeats agree within a few
per cent on any host. The floor is a C loop that only vforks, execs and respawns (service.c).

    run.py --dist dist/x86_64 --kernel FILE --examples DIR --out FILE [--quick] [--verbose] [--engine]

Prints the table with the budgets and writes it as JSON: a list of {name, arch, value, unit, budget,
within}.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import counted  # noqa: E402

ARCH = "x86_64"
TARGETS = ["sysinit.target", "basic.target", "multi-user.target", "shutdown.target"]


def unit(shape, number):
    """The unit file of one service in a chain of five ('chain', 'ready') or on its own ('flat')."""
    lines = ["[Unit]"]
    if shape in ("chain", "ready") and number % 5:
        lines += [f"Requires=bench-{number - 1}.service", f"After=bench-{number - 1}.service"]
    lines += ["[Service]", f"ExecStart=/bench/service {number}", "StandardOutput=null", "StandardError=null",
              "Restart=always", "RestartSec=0"]
    if shape == "ready":
        lines += ["Type=notify"]
    return "\n".join(lines) + "\n"


def guest():
    """The root file system that all guests begin with: the meter as /init, the service, and the floor."""
    tree = counted.skeleton()
    tree.directory("root")
    for name in ["service", "meter"]:
        tree.file(f"bench/{name}", counted.program(HERE / f"{name}.c"), 0o755)
    tree.symlink("init", "bench/meter")
    return tree


def units(tree, directory, shape, services):
    """Unit files below `directory` that bring up the services, for a manager that reads such."""
    for target in TARGETS:
        tree.file(f"{directory}/{target}", (counted.ROOT / "rootfs/units" / target).read_bytes())
    tree.symlink(f"{directory}/default.target", "multi-user.target")
    for number in range(services):
        name = f"bench-{number}.service"
        tree.file(f"{directory}/{name}", unit(shape, number))
        tree.symlink(f"{directory}/multi-user.target.wants/{name}", f"../{name}")


def ours(tree, dist, shape, services):
    """Our own distribution tree, with the bench's units in place of the default ones."""
    for path in ["sbin/init", "usr/lib/sysmaster/init-worker", "usr/lib/sysmaster/sysmaster"]:
        tree.file(path, pathlib.Path(dist, path).read_bytes(), 0o755)
    tree.symlink("usr/lib/sysmaster/helpers/service", "../sysmaster")
    tree.file("etc/sysmaster/system.conf", "[Manager]\nShowStatus=no\n")
    units(tree, "usr/lib/sysmaster/system", shape, services)


def boot(args, pid1, shape, services, full=False):
    """One boot of the floor or of ours; the values the meter printed."""
    tree = guest()
    ours(tree, args.dist, shape, services)
    return meter(args, tree, pid1, f"{pid1} {shape}", services, full)


def meter(args, tree, pid1, what, services, full=False):
    """Boots a tree with this PID 1; the values the meter printed."""
    append = f"bench_n={services} bench_pid1={pid1}" + (" bench_full=1" if full else "")
    values = machine(args, tree, append)
    if "end" not in values or values.get("started") != services:
        sys.exit(f"bench: {what} {services}: the guest did not finish its scenario")
    return values


def count(args, program, services=0):
    """One run of an example of ours as the only process of a machine; the values it printed."""
    tree = counted.skeleton()
    tree.file("init", pathlib.Path(args.examples, program).read_bytes(), 0o755)
    if services:
        units(tree, "usr/lib/sysmaster/system", "flat", services)
    values = machine(args, tree, "")
    if "end" not in values:
        sys.exit(f"bench: {program} did not finish")
    return values


def machine(args, tree, append):
    """Boots a kernel with this first root; the values its console showed."""
    text = counted.boot(tree, args.kernel, f"rdinit=/init {append}", timeout=1500, megabytes=2048 if "bench_n=2000" in append else 512)
    values = {m[1]: float(m[2]) for m in re.finditer(r"BENCH (\w+) (-?[\d.]+)", text)}
    if args.verbose or "end" not in values:
        sys.stdout.write(text)
    return values


class Table:
    """Rows of figure and budget, printed and written."""

    def __init__(self):
        self.rows = []

    def add(self, name, value, unit, budget=None):
        within = None if budget is None else value <= budget
        self.rows.append({"name": name, "arch": ARCH, "value": round(value, 3), "unit": unit, "budget": budget,
                          "within": within})
        mark = "" if within is None else ("ok" if within else "OVER")
        print(f"{name:<62} {value:>10.2f} {unit:<8} {'' if budget is None else budget:>8}  {mark}", flush=True)


def engine(args, table):
    """The engine alone, and the unit files: instructions and bytes."""
    cost = count(args, "cost")
    million = {name: value / 1e6 for name, value in cost.items()}
    table.add("engine: transaction of 10,000 units", million["transaction_10k"], "M instr", 20)
    table.add("engine: transaction of 100,000 units", million["transaction_100k"], "M instr", 200)
    table.add("engine: job of one unit among 10,000", million["one_job"], "M instr")
    # The test knows the bounds, and fails beyond them.
    memory = subprocess.run(["cargo", "test", "-q", "-p", "engine", "--test", "memory", "--", "--nocapture"], cwd=counted.ROOT,
                            check=True, stdout=subprocess.PIPE, text=True).stdout
    for what, value in re.findall(r"^(unit|service|queued job)\b.* (\d+)$", memory, re.M):
        table.add(f"engine: bytes for each {what}", float(value), "bytes", {"unit": 310, "service": 440, "queued job": 300}[what])
    record = count(args, "store_bench")
    for live, words in [(50, "50 live"), (10000, "10,000 live")]:
        table.add(f"one record in a store, with compaction, {words}", record[f"each_{live}"] / 1e3, "us", 0.5)
        table.add(f"the worst one of them, {words}", record[f"worst_{live}"] / 1e6, "ms", 1)
    files = count(args, "units", 1000)
    boot_1000 = boot(args, "/sbin/init", "flat", 1000)
    table.add("load of 1,000 unit files", files["load"] / 1e6, "ms")
    table.add("the same, as a share of their boot", 100 * files["load"] / 1e6 / boot_1000["boot"], "%", 10)
    table.add("daemon-reload of 1,000 units, one changed", files["reload"] / 1e6, "ms")
    table.add("the same, as a share of loading them all", 100 * files["reload"] / files["load"], "%")


def measure(args):
    table = Table()
    print(f"{'figure':<62} {'value':>10} {'unit':<8} {'budget':>8}")
    engine(args, table)
    if args.engine:
        return table.rows
    floor = boot(args, "/bench/service", "flat", 50)
    ours = boot(args, "/sbin/init", "flat", 50, full=True)
    table.add("floor: boot, 50 services", floor["boot"], "ms")
    table.add("boot, 50 services flat", ours["boot"], "ms")
    table.add("boot, 50 services flat, against the floor", ours["boot"] / floor["boot"], "x", 2.5)
    table.add("boot, first service", ours["first"], "ms")
    table.add("floor: kill -9 of a service -> its next first instruction", floor["restart"], "ms")
    table.add("kill -9 of a service -> its next first instruction", ours["restart"], "ms")
    table.add("the same, against the floor", ours["restart"] / floor["restart"], "x", 2.5)
    table.add("PSS of init, idle", ours["pss_init"], "KiB", 64)
    table.add("PSS of init, manager and service helper, 50 services", ours["pss"], "KiB", 1229)
    table.add("wake-ups of ours in ten idle minutes", ours["wakeups"], "", 0)
    table.add("the same in a day", 144 * ours["wakeups"], "")
    table.add("PSS they have grown by in a day, if it goes on as in ten minutes", 144 * ours["pss_grown"], "KiB", 0)
    table.add("all stores, 50 services", ours["stores"], "KiB")
    recoveries(table, ours, 50, 15)
    table.add("floor: CPU of PID 1 for an orphan", floor["orphan_init"], "us")
    table.add("CPU of init for an orphan", ours["orphan_init"], "us")
    table.add("CPU of init and manager for an orphan", ours["orphan_all"], "us")
    if not args.quick:
        for shape, words in [("chain", "in chains of 5"), ("ready", "in chains of 5 with readiness")]:
            values = boot(args, "/sbin/init", shape, 50)
            table.add(f"boot, 50 services {words}, against the floor", values["boot"] / floor["boot"], "x", 3.5)
        many_floor = boot(args, "/bench/service", "flat", 500)
        many = boot(args, "/sbin/init", "flat", 500, full=True)
        table.add("boot, 500 services flat, against the floor", many["boot"] / many_floor["boot"], "x", 2.5)
        table.add("kill -9 of a service -> its next first instruction, 500", many["restart"], "ms")
        table.add("PSS of init, manager and service helper, 500 services", many["pss"], "KiB")
        table.add("each further service: PSS", (many["pss"] - ours["pss"]) / 450, "KiB", 1.5)
        both = ((many["mem_used"] - ours["mem_used"]) - (many_floor["mem_used"] - floor["mem_used"])) / 450
        table.add("each further service: user and kernel memory", both, "KiB", 12)
        for name, words in [("recovery_manager", "the manager"), ("recovery_both", "manager and helper")]:
            table.add(f"recovery after SIGKILL of {words}, each further service", (many[name] - ours[name]) / 450, "ms", 0.1)
        recoveries(table, many, 500)
        most = boot(args, "/sbin/init", "flat", 2000, full=True)
        table.add("boot, 2,000 services flat", most["boot"], "ms")
        table.add("kill -9 of a service -> its next first instruction, 2,000", most["restart"], "ms")
        table.add("all stores, 2,000 services", most["stores"], "KiB")
        table.add("stores, each further service", (most["stores"] - ours["stores"]) / 1950, "KiB")
        recoveries(table, most, 2000)
    return table.rows


def recoveries(table, values, services, budget=None):
    """Whatever happens to the manager: the time until a service that dies in that instant is back."""
    for name, words, allowed in [
        ("recovery_manager", "SIGKILL of the manager -> a service that died then is back", budget),
        ("recovery_both", "SIGKILL of manager and helper -> the same", budget),
        ("recovery_stop", "SIGSTOP of the manager -> the same", None),
        ("recovery_hang", "a debugger holds the manager (2 s longer than a hang) -> the same", None),
        ("reexec", "re-exec of the manager -> the same", None),
        ("upgrade", "sctl upgrade -> the new manager has restarted a service", None),
        ("taken_back", "SIGABRT of a manager on trial -> the same by the one before", None),
    ]:
        table.add(f"{words}, {services}", values[name], "ms", allowed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", required=True, help="what `make dist` left for x86_64")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--examples", required=True, help="where `cost` and `units` are, static")
    parser.add_argument("--out", required=True)
    parser.add_argument("--engine", action="store_true", help="the engine and the unit files only")
    parser.add_argument("--quick", action="store_true", help="50 services only")
    parser.add_argument("--verbose", action="store_true", help="print the guests' consoles")
    args = parser.parse_args()
    rows = measure(args)
    os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
    with open(args.out, "w") as f:
        json.dump(rows, f, indent=1)
    over = [row["name"] for row in rows if row["within"] is False]
    print(f"{len(over)} over budget" + (": " + "; ".join(over) if over else ""))


if __name__ == "__main__":
    main()
