#!/usr/bin/env python3
"""The comparison with systemd: random unit trees under the real one and under ours, in QEMU.

    run.py --seeds 40                 trees 1 to 40; --from N begins with another
    run.py --seed 17 --shrink         tree 17 alone, made as small as it still differs, and printed

Each side is one boot that goes through all the trees (guest/driver), with the same kernel, the same
driver and the same service program (act.c). systemd is Debian's package, unpacked. A tree whose outcome
systemd itself leaves open (see compare.racy) is counted and not compared. The last line is `N passed, N failed, N skipped`.
"""

import argparse
import concurrent.futures
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE))
import compare  # noqa: E402
import counted  # noqa: E402
import trees  # noqa: E402
from counted import packages  # noqa: E402

# Both managers boot into the targets that we ship, and into nothing else.
TARGETS = ["sysinit.target", "basic.target", "multi-user.target", "shutdown.target"]
SIDES = {
    "systemd": {"pid1": "/usr/lib/systemd/systemd", "ctl": "systemctl", "units": "/run/systemd/system", "conf": "etc/systemd/system.conf"},
    "ours": {"pid1": "/usr/sbin/init", "ctl": "sctl", "units": "/run/sysmaster/system", "conf": "etc/sysmaster/system.conf"},
}
# With a timer that goes on while the processor sleeps: without one the kernel wakes up 250 times a second.
CPU = "qemu64,-cx16,+arat"
SYSTEMD = ["usr/lib/systemd/systemd", "usr/lib/systemd/systemd-executor", "usr/lib/systemd/systemd-shutdown", "usr/bin/systemctl"]


def image(side, forest, dist, fetched):
    """The guest's file system: manager, driver, trees."""
    what = SIDES[side]
    tree = counted.skeleton()
    tree.file("usr/bin/busybox", (fetched["busybox-static"] / "usr/bin/busybox").read_bytes(), 0o755)
    for name in ("init", "driver"):
        tree.file(f"diff/{name}", (HERE / "guest" / name).read_bytes(), 0o755)
    tree.symlink("init", "diff/init")
    tree.file("diff/act", counted.program(HERE / "act.c"), 0o755)
    for name in ("pid1", "ctl", "units"):
        tree.file(f"diff/{name}", what[name] + "\n")
    if side == "systemd":
        for path in SYSTEMD:
            tree.file(path, (fetched["systemd"] / path).read_bytes(), 0o755)
        counted.packages.install_libraries(tree, fetched, counted.MULTIARCH)
    else:
        tree.copy(dist, "")
    units = f"usr/lib/{'systemd' if side == 'systemd' else 'sysmaster'}/system"
    for name in [name for name in tree.entries if name.startswith(units + "/")]:
        del tree.entries[name]
    for name in TARGETS:
        tree.file(f"{units}/{name}", (ROOT / "rootfs/units" / name).read_bytes())
    tree.symlink(f"{units}/default.target", "multi-user.target")
    tree.file(what["conf"], "[Manager]\nShowStatus=no\nDefaultStandardOutput=null\nDefaultStandardError=null\n")
    tree.file("etc/machine-id", "0" * 31 + "1\n")
    tree.file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
    tree.file("etc/group", "root:x:0:\n")
    for plan in forest:
        place = f"diff/trees/{plan['seed']:06}"
        for name, lines in plan["units"].items():
            tree.file(f"{place}/{name}", trees.unit_file(lines))
        tree.file(f"{place}/commands", trees.script(plan))
    return tree


class Laboratory:
    """What is needed to run trees under both managers."""

    def __init__(self, dist, verbose=False):
        self.dist, self.verbose = dist, verbose
        self.fetched = packages.fetch(counted.DEB_ARCH, ["systemd", "busybox-static"], closure=True)
        self.kernel = counted.kernel()

    def boot(self, side, forest):
        tree = image(side, forest, self.dist, self.fetched)
        console = counted.boot(tree, self.kernel, "rdinit=/init", cpu=CPU, timeout=60 + 60 * len(forest))
        out = ROOT / "target" / "diff"
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{side}.log").write_text(console)
        if self.verbose:
            sys.stdout.write(console)
        return compare.read(console), console

    def compare(self, forest):
        """(passed, failed, skipped) as lists of (tree, why or None)."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            (theirs, console), (ours, own_console) = pool.map(lambda side: self.boot(side, forest), SIDES)
        results = [], [], []
        for plan in forest:
            seed = plan["seed"]
            if seed not in theirs:
                sys.exit(f"{console[-3000:]}\ndiff: systemd's guest did not finish tree {seed}")
            if seed not in ours:
                results[FAILED].append((plan, [f"our guest did not finish this tree: {own_console[-3000:]}"]))
                continue
            verdict, words = judge(plan, theirs[seed], ours[seed])
            results[verdict].append((plan, words))
        return results


PASSED, FAILED, SKIPPED = range(3)


def judge(plan, theirs, ours):
    """What to make of one tree, and why."""
    why = compare.racy(plan, theirs)
    if why:
        return SKIPPED, [why]
    theirs, ours = compare.without_stillborn(plan, theirs), compare.without_stillborn(plan, ours)
    if theirs is None or ours is None:
        return SKIPPED, ["a service was ended as it began"]
    found = compare.differences(plan, theirs, ours)
    why = compare.decided(plan, theirs, ours) if found else None
    if why:
        return SKIPPED, [why]
    return (FAILED if found else PASSED), found


def smaller(plan):
    """Every tree that is this one without one command, unit or directive."""
    for index in range(len(plan["commands"])):
        yield {**plan, "commands": plan["commands"][:index] + plan["commands"][index + 1 :]}
    for name in plan["units"]:
        if any(name in words for _, words in plan["commands"]):
            continue
        rest = {unit: [line for line in lines if line[2] != name] for unit, lines in plan["units"].items() if unit != name}
        yield {**plan, "units": rest}
    for name, lines in plan["units"].items():
        for index, line in enumerate(lines):
            if line[1] not in ("Type", "ExecStart", "DefaultDependencies"):
                yield {**plan, "units": {**plan["units"], name: lines[:index] + lines[index + 1 :]}}


def renamed(plan, seed):
    """The same tree under another number, which its names carry."""
    text = json.dumps({**plan, "seed": seed}).replace(f"s{plan['seed']}-", f"s{seed}-")
    return json.loads(text)


def shrink(laboratory, plan):
    """Takes away what the difference does not need, as many things at a time as there are variants."""
    seed = plan["seed"]
    while True:
        variants = [renamed(variant, 100_000 + number) for number, variant in enumerate(smaller(plan))]
        failed = laboratory.compare(variants)[FAILED]
        print(f"diff: {sum(map(len, plan['units'].values()))} directives, {len(failed)} of {len(variants)} smaller trees differ", flush=True)
        if not failed:
            return plan
        plan = min((tree for tree, _ in failed), key=lambda tree: len(json.dumps(tree)))
        plan = renamed(plan, seed)


def show(laboratory, plan):
    print(trees.describe(plan))
    for _, found in laboratory.compare([plan])[FAILED]:
        print("\n".join(f"  {line}" for line in found))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", type=pathlib.Path, default=ROOT / "dist" / "x86_64", help="what `make dist` left")
    parser.add_argument("--from", dest="first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=40, help="number of trees")
    parser.add_argument("--seed", type=int, help="this tree alone")
    parser.add_argument("--shrink", action="store_true", help="make the tree small that differs")
    parser.add_argument("--verbose", action="store_true", help="print the guests' consoles")
    options = parser.parse_args()
    seeds = [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    laboratory = Laboratory(options.dist, options.verbose)
    forest = [trees.generate(seed) for seed in seeds]
    if options.seed is not None:
        show(laboratory, shrink(laboratory, forest[0]) if options.shrink else forest[0])
    passed, failed, skipped = laboratory.compare(forest)
    for plan, found in failed:
        print(f"tree {plan['seed']} differs:")
        print("\n".join(f"  {line}" for line in found))
    print(f"{len(passed)} passed, {len(failed)} failed, {len(skipped)} skipped")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
