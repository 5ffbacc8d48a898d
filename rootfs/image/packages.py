"""Debian packages, unpacked and not installed: where they are, and the libraries that programs out of them ask for."""

import os
import pathlib
import subprocess
import sys

import elf

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SUITE = "trixie"
CACHE = pathlib.Path(os.environ.get("CACHE") or pathlib.Path.home() / ".cache/sysmaster")


def fetch(deb_arch, names, closure=False):
    """Unpacks packages into the cache; returns their directories, by name."""
    command = [str(ROOT / "ports/toolchain/fetch-deb")] + (["--closure"] if closure else []) + [SUITE, deb_arch, *names]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"CACHE": str(CACHE)})
    return {name: CACHE / f"{SUITE}-{deb_arch}" / name for name in (done.stdout.split() if closure else names)}


def kernel(package):
    """The kernel's image in its unpacked package."""
    return next(path for path in sorted((package / "boot").iterdir()) if path.name.startswith("vmlinu"))


def install_libraries(tree, packages, multiarch):
    """Every shared library that a program in the tree asks for, and what those ask for."""
    below = [f"usr/lib/{multiarch}", "usr/lib", "usr/lib64", f"usr/lib/{multiarch}/systemd"]
    where = [directory for package in packages.values() for path in below if (directory := package / path).is_dir()]
    queue = [entry[3] for entry in list(tree.entries.values()) if entry[3][:4] == b"\x7fELF"]
    seen = set()
    while queue:
        names, interpreter = elf.needed(queue.pop())
        wanted = [(name, f"usr/lib/{multiarch}/{name}") for name in names]
        if interpreter:
            wanted.append((os.path.basename(interpreter), interpreter))
        for name, path in wanted:
            if name in seen and tree.has(path):
                continue
            seen.add(name)
            source = next((d / name for d in where if (d / name).exists()), None)
            if source is None:
                sys.exit(f"image: no package of the image brings the library {name}")
            content = source.read_bytes()
            tree.file(path, content, 0o755)
            queue.append(content)
