#!/usr/bin/env python3
"""Writes ports/toolchain/order.txt: the functions of the multi-call executable that a boot executes, as it first does.

A guest boots fifty services, dies, recovers, is upgraded and taken back, while QEMU writes down each piece of code of the
executable that it comes to. The executable is built unstripped for that, so that addresses have names.
"""

import argparse
import bisect
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "bench"))
import counted  # noqa: E402
import run  # noqa: E402

TOOLS = counted.ROOT / "ports" / "toolchain"
# Made anew by each build, under no name of their own.
NAMELESS = re.compile(r"OUTLINED_FUNCTION|\.L|\$")


def functions(program):
    """Addresses and names, sorted; where the first begins and the last ends."""
    text = subprocess.run(["nm", program], check=True, stdout=subprocess.PIPE, text=True).stdout
    words = [line.split() for line in text.splitlines()]
    # One name for each address: a strong one, which is the one that its section goes by.
    strong_first = sorted((int(w[0], 16), w[1] in "wW", w[2]) for w in words if len(w) == 3 and w[1] in "tTwW")
    found = {}
    for at, _, name in strong_first:
        found.setdefault(at, name)
    return list(found.items()), strong_first[0][0], strong_first[-1][0] + 4096


def executed(args, start, end):
    """Addresses of the pieces of code between these that a guest came to, in that order."""
    with tempfile.NamedTemporaryFile(prefix="order-", mode="r") as log:
        counted.EXTRA[:] = ["-d", "in_asm", "-dfilter", f"{start:#x}..{end:#x}", "-D", log.name]
        run.boot(args, "/sbin/init", "flat", 50, full=True)
        return [int(m[1], 16) for m in re.finditer(r"^IN:.*\n0x([0-9a-f]+):", log.read(), re.M)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dist", required=True, help="what `make dist` left for x86_64, with the unstripped executable")
    parser.add_argument("--kernel", required=True)
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    known, start, end = functions(pathlib.Path(args.dist, "usr/lib/sysmaster/sysmaster"))
    places = [at for at, _ in known]
    names = (known[bisect.bisect(places, at) - 1][1] for at in executed(args, start, end))
    names = [name for name in dict.fromkeys(names) if not NAMELESS.search(name)]
    plain = subprocess.run([TOOLS / "order", "--plain"], input="\n".join(names), check=True, stdout=subprocess.PIPE, text=True)
    lines = dict.fromkeys(plain.stdout.split())
    (TOOLS / "order.txt").write_text("".join(f"{line}\n" for line in lines))
    print(f"order: {len(lines)} functions of {len(known)} in ports/toolchain/order.txt")


if __name__ == "__main__":
    main()
