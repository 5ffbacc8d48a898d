"""A machine that U-Boot boots from one of two slots, and what it counts.

As on a board: the commands are in the flash the loader came with, the state (which slot, whether it is on trial, how many
times it was tried) is in an environment of its own on a raw device, which U-Boot and `fw_setenv` both write. Both slots
have the same kernel and image here; `test.slot=` tells them apart. The rule is that of U-Boot's boot counter: a slot on
trial is tried `bootlimit` times, then the other one is booted and stays.
"""

import zlib

BIOS = "/usr/lib/u-boot/qemu_arm64/u-boot.bin"  # Debian's u-boot-qemu
FLASH_BYTES = 64 << 20
STATE_BYTES = 0x4000
DISK_BYTES = 64 << 10

COMMANDS = [
    "setenv at 0x40200000; setenv words slot upgrade_available bootcount bootlimit",
    f"virtio dev 1; virtio read ${{at}} 0 {STATE_BYTES // 512:x}; env import -c ${{at}} {STATE_BYTES:x} ${{words}}",
    "if test ${upgrade_available} = 1; then setexpr bootcount ${bootcount} + 1",
    'if test ${bootcount} -le ${bootlimit}; then echo "@@ slot ${slot}, try ${bootcount}"',
    'else echo "@@ slot ${slot} is given up"; setenv slot a; setenv upgrade_available 0; setenv bootcount 0; fi',
    f"env export -c -s {STATE_BYTES:x} ${{at}} ${{words}}; virtio write ${{at}} 0 {STATE_BYTES // 512:x}; fi",
    "setenv bootargs console=ttyAMA0 panic=-1 quiet rdinit=/tests/init-slots test.slot=${slot}",
    "load virtio 0 ${kernel_addr_r} kernel; load virtio 0 ${ramdisk_addr_r} cpio",
    "booti ${kernel_addr_r} ${ramdisk_addr_r}:${filesize} ${fdtcontroladdr}",
]


def environment(variables, size):
    """As U-Boot keeps it: a checksum, then NAME=VALUE with a NUL after each and one more at the end."""
    text = ("\0".join(variables) + "\0\0").encode().ljust(size - 4, b"\0")
    return zlib.crc32(text).to_bytes(4, "little") + text


def write_image(path, content, size):
    with path.open("wb") as image:
        image.write(content)
        image.truncate(size)


def devices(flash, state):
    """Makes both images, slot b on trial; the words for QEMU. (The first disk on its command line is U-Boot's last.)"""
    settings = ["bootdelay=0", "kernel_addr_r=0x40400000", "ramdisk_addr_r=0x44000000", "bootcmd=" + "; ".join(COMMANDS)]
    write_image(flash, environment(settings, 0x40000), FLASH_BYTES)
    write_image(state, environment(["slot=b", "upgrade_available=1", "bootcount=0", "bootlimit=2"], STATE_BYTES), DISK_BYTES)
    words = ["-bios", BIOS, "-drive", f"if=pflash,unit=1,format=raw,file={flash}"]
    return words + ["-drive", f"if=none,id=state,format=raw,file={state}", "-device", "virtio-blk-device,drive=state"]
