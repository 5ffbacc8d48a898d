#!/usr/bin/env python3
"""The benchmark of run.py for others' inits, side by side with ours.

    peers.py --dist dist/x86_64 --out FILE [--only NAME]... [--quick] [--verbose]

Same kernel, same guest, same service program, instructions counted; the peers are Debian's packages,
unpacked. Each brings up N services as its own documentation says: `flat` without order, `chain` in
chains of five that wait for each other, `ready` the same with each waiting for its predecessor's READY=1.
A peer without dependencies has no figure there. What Debian does not package was measured by the same method by
hand and is quoted (QUOTED), marked with *. (The crates registry has zinit's server, which does not compile from there.)
"""

import argparse
import json
import pathlib

import run
from run import counted
from counted import packages

SHAPES = [("flat", 50), ("chain", 50), ("ready", 50), ("flat", 500)]

# boot by shape in ms, restart in ms, PSS in KiB
QUOTED = {
    "dinit 0.22 *": ([58.3, 61.7, 63.8, 636], 0.97, 4028),
    "s6-rc (static) *": ([186, 186, 196, 1915], 0.93, 1504),
    "nitro *": ([79.6, None, None, 834], 1.56, 92),
    "zinit *": ([169, 169, None, None], 5.2, 9436),
}


def floor(_args, _tree, _shape, _services):
    return "/bench/service"


def ours(args, tree, shape, services):
    run.ours(tree, args.dist, shape, services)
    return "/sbin/init"


def take(tree, names, paths, wanted=None):
    """Programs out of a package and all the libraries they ask for."""
    fetched = packages.fetch(counted.DEB_ARCH, names, closure=True)
    package = fetched[wanted or names[0]]
    for path in paths:
        source = package / path
        if source.is_dir():
            tree.copy(source, path)
        else:
            tree.file(path, source.read_bytes(), 0o755)
    packages.install_libraries(tree, fetched, counted.MULTIARCH)


def busybox(_args, tree, _shape, services):
    take(tree, ["busybox-static"], ["usr/bin/busybox"])
    tree.symlink("sbin/init", "../bin/busybox")
    tree.file("etc/inittab", "".join(f"::respawn:/bench/service {number}\n" for number in range(services)))
    return "/sbin/init"


def sysvinit(_args, tree, _shape, services):
    take(tree, ["sysvinit-core"], ["usr/sbin/init"])
    lines = [f"{number:x}:2:respawn:/bench/service {number}\n" for number in range(services)]
    tree.file("etc/inittab", "id:2:initdefault:\n" + "".join(lines))
    return "/sbin/init"


def runit(_args, tree, _shape, services):
    take(tree, ["busybox-static"], ["usr/bin/busybox"])
    take(tree, ["runit"], ["usr/sbin/runit", "usr/bin/runsv", "usr/bin/runsvdir"])
    tree.symlink("bin/sh", "busybox")
    for stage, words in [("1", ":"), ("2", "exec /usr/bin/runsvdir -P /etc/service"), ("3", ":")]:
        tree.file(f"etc/runit/{stage}", f"#!/bin/sh\nPATH=/usr/bin:/usr/sbin\nexport PATH\n{words}\n", 0o755)
    for number in range(services):
        tree.file(f"etc/service/{number}/run", f"#!/bin/sh\nexec /bench/service {number}\n", 0o755)
    return "/sbin/runit"


def finit(_args, tree, _shape, services):
    # (Its conditions did not come true in this guest, neither of pid files nor of its states: no figure with them.)
    take(tree, ["busybox-static"], ["usr/bin/busybox"])
    take(tree, ["finit"], ["usr/sbin/finit", "usr/sbin/initctl"])
    tree.symlink("bin/sh", "busybox")
    # Without one it takes the machine to be broken.
    tree.file("etc/fstab", "none /tmp tmpfs defaults 0 0\n")
    lines = [f"service [S0123456789] name:b{number} /bench/service {number} -- b\n" for number in range(services)]
    tree.file("etc/finit.conf", "host bench\nrunlevel 2\n" + "".join(lines))
    return "/sbin/finit"


def systemd(_args, tree, shape, services):
    take(tree, ["systemd"], ["usr/lib/systemd/systemd", "usr/lib/systemd/systemd-executor"])
    tree.file("etc/machine-id", "0" * 31 + "1\n")
    tree.file("etc/systemd/system.conf", "[Manager]\nShowStatus=no\n")
    run.units(tree, "usr/lib/systemd/system", shape, services)
    return "/usr/lib/systemd/systemd"


# Whether it knows dependencies, and readiness.
PEERS = {
    "floor": (floor, ["flat"]),
    "ours": (ours, ["flat", "chain", "ready"]),
    "busybox init 1.37": (busybox, ["flat"]),
    "sysvinit 3.14": (sysvinit, ["flat"]),
    "runit 2.2": (runit, ["flat"]),
    "finit 4.12": (finit, ["flat"]),
    "systemd 257": (systemd, ["flat", "chain", "ready"]),
}


def measure(args, name):
    """One line of the table."""
    lay_out, shapes = PEERS[name]
    row = {"name": name, "boot_ms": {}, "measured": True}
    for shape, services in SHAPES if not args.quick else SHAPES[:1]:
        if shape not in shapes:
            continue
        tree = run.guest()
        pid1 = lay_out(args, tree, shape, services)
        values = run.meter(args, tree, pid1, f"{name} {shape}", services)
        row["boot_ms"][f"{shape} {services}"] = values["boot"]
        if (shape, services) == SHAPES[0]:
            small = values
            row |= {"first_ms": values["first"], "restart_ms": values["restart"], "pss_kib": values["pss"],
                    "orphan_us": values["orphan_init"], "wakeups": values["wakeups"]}  # fmt: skip
        elif services == SHAPES[-1][1]:
            row["pss_each_kib"] = (values["pss"] - small["pss"]) / 450
            row["memory_each_kib"] = (values["mem_used"] - small["mem_used"]) / 450
    return row


def quoted():
    for name, (boots, restart, pss) in QUOTED.items():
        boot = {f"{shape} {services}": value for (shape, services), value in zip(SHAPES, boots) if value}
        yield {"name": name, "boot_ms": boot, "restart_ms": restart, "pss_kib": pss, "measured": False}


COLUMNS = [(f"{services} {shape}", lambda row, key=f"{shape} {services}": row["boot_ms"].get(key)) for shape, services in SHAPES]
COLUMNS += [
    ("first", lambda row: row.get("first_ms")),
    ("restart", lambda row: row.get("restart_ms")),
    ("PSS", lambda row: row.get("pss_kib")),
    ("+PSS", lambda row: row.get("pss_each_kib")),
    ("+memory", lambda row: row.get("memory_each_kib")),
    ("wake-ups", lambda row: row.get("wakeups")),
]


def line(row):
    cells = [value(row) for _, value in COLUMNS]
    words = ["-" if cell is None or cell < 0 else f"{cell:.2f}" if cell < 10 else f"{cell:.0f}" if cell >= 100 else f"{cell:.1f}" for cell in cells]
    return f"{row['name']:<20}" + "".join(f"{word:>10}" for word in words)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", required=True, help="what `make dist` left for x86_64")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--only", action="append", choices=PEERS, help="this one (may be given again)")
    parser.add_argument("--quick", action="store_true", help="50 services flat only")
    parser.add_argument("--verbose", action="store_true", help="print the guests' consoles")
    args = parser.parse_args()
    args.kernel = counted.kernel()
    print("boot: ms from PID 1's exec to the last service's first instruction; first: to the first service's;\n"
          "restart: ms from kill -9 to the next instance; PSS: KiB with 50 services, and for each further one;\n"
          "memory: KiB of user and kernel for each further one; wake-ups: in ten idle minutes.")  # fmt: skip
    print(f"{'':<20}" + "".join(f"{name:>10}" for name, _ in COLUMNS))
    rows = []
    for name in args.only or PEERS:
        try:
            row = measure(args, name)
        except SystemExit as failed:
            print(failed, flush=True)
            row = {"name": name, "boot_ms": {}, "measured": True, "failed": str(failed)}
        print(line(row), flush=True)
        rows.append(row)
    for row in quoted():
        print(line(row))
        rows.append(row)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(rows, indent=1) + "\n")
    print("* quoted: measured by hand with the same method, not part of this run")


if __name__ == "__main__":
    main()
