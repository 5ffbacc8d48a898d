"""Kernel modules: finds them in an unpacked kernel package, with what they depend on.

Debian's packages carry no modules.dep (depmod runs at installation), so the dependencies are read
from the modules themselves, and a modules.dep for modprobe is written from them.
"""

import lzma
import re


class Missing(Exception):
    """A module that this kernel neither has as a file nor built in."""


def collect(package, wanted, welcome=()):
    """Returns (kernel release, {path below lib/modules/RELEASE: bytes}, text of modules.dep). What is
    only welcome may be missing."""
    base = next((package / "usr/lib/modules").glob("*/kernel"), None) or next((package / "lib/modules").glob("*/kernel"))
    base = base.parent
    files = {_name(path.name): path for path in base.glob("kernel/**/*.ko*")}
    builtin = {_name(line.rpartition("/")[2]) for line in (base / "modules.builtin").read_text().split()}
    found = {}  # name -> (path, content, names it depends on)

    def visit(name):
        if name in found or name in builtin:
            return
        if name not in files:
            raise Missing(name)
        content = _read(files[name])
        depends = re.search(rb"\0depends=([^\0]*)", content)
        names = [_name(item) for item in depends.group(1).decode().split(",") if item] if depends else []
        path = str(files[name].relative_to(base)).removesuffix(".xz")
        found[name] = (path, content, names)
        for item in names:
            visit(item)

    for name in [*wanted, *(name for name in welcome if name in files)]:
        visit(_name(name))

    def closure(name):
        """What must be loaded before `name`, nearest first, as modules.dep has it."""
        result = []
        for item in found[name][2]:
            if item in found:
                result += [found[item][0]] + closure(item)
        return list(dict.fromkeys(result))

    lines = [f"{found[name][0]}: {' '.join(closure(name))}".rstrip() + "\n" for name in sorted(found)]
    return base.name, {path: content for path, content, _ in found.values()}, "".join(lines)


def _name(file_name):
    return file_name.partition(".ko")[0].replace("-", "_")


def _read(path):
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content
