"""A guest whose clock counts instructions: what the benchmarks and the comparison with systemd boot.

QEMU runs with -icount: a guest nanosecond is one instruction, and idle
time is skipped, so that times repeat whatever the host is doing and sleeping costs nothing.
"""

import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "rootfs" / "image"))
import cpio  # noqa: E402
import packages  # noqa: E402,F401 (for those who import this)

# Further words for QEMU.
EXTRA = []
DEB_ARCH, MULTIARCH = "amd64", "x86_64-linux-gnu"


def program(source):
    """A small static program from one file of C; its bytes."""
    with tempfile.TemporaryDirectory(prefix="counted-") as directory:
        out = pathlib.Path(directory) / "program"
        flags = ["-static", "-Os", "-s", "-Wall", "-Wextra", "-Werror", "-Wno-clobbered"]
        subprocess.run(["musl-gcc", *flags, "-o", out, source], check=True)
        return out.read_bytes()


def kernel():
    """Debian's kernel for virtual machines; its path."""
    name = "linux-image-cloud-amd64"
    return packages.kernel(packages.fetch(DEB_ARCH, [name])[name])


def skeleton():
    """The directories that every guest has."""
    tree = cpio.Tree()
    for name in ("bin", "sbin", "lib"):
        tree.directory_link(name, f"usr/{name}")
    tree.directory_link("lib64", "usr/lib64")
    for name in ("proc", "sys", "dev", "run", "tmp", "etc", "var"):
        tree.directory(name)
    tree.character_device("dev/console", 5, 1)
    return tree


def boot(tree, kernel, append, cpu="qemu64,-cx16", timeout=1200, megabytes=512):
    """Boots the tree; what the guest wrote on its console until it ended or time (seconds) was up."""
    with tempfile.NamedTemporaryFile(prefix="counted-", suffix=".cpio") as image:
        cpio.write(tree, image)
        image.flush()
        command = ["qemu-system-x86_64", "-M", "microvm,isa-serial=on", "-accel", "tcg,thread=single", "-icount",
                   "shift=0,sleep=off", "-cpu", cpu, "-smp", "1", "-m", str(megabytes), "-nographic",
                   "-nodefaults", "-serial", "stdio", "-no-reboot", *EXTRA, "-kernel", str(kernel), "-initrd", image.name,
                   "-append", f"console=ttyS0 panic=-1 quiet loglevel=1 {append}"]  # fmt: skip
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout)
            out = done.stdout
        except subprocess.TimeoutExpired as late:
            out = (late.stdout or b"") + b"\nQEMU was ended: its time was over\n"
    return out.decode("latin1").replace("\r", "")
