# What an architecture of ours is called by others. To be sourced, after ARCH is set; sets
#   TRIPLE    Rust's name for its static-musl target
#   DEB_ARCH  Debian's name
#   MUSL      the directory under /usr/lib in which Debian's musl-dev keeps its libraries
# The list of all of them is ARCHES.

ARCHES="x86_64 aarch64 armv7 riscv64"

case ${ARCH:?} in
    x86_64)  TRIPLE=x86_64-unknown-linux-musl       DEB_ARCH=amd64   MUSL=x86_64-linux-musl ;;
    aarch64) TRIPLE=aarch64-unknown-linux-musl      DEB_ARCH=arm64   MUSL=aarch64-linux-musl ;;
    armv7)   TRIPLE=armv7-unknown-linux-musleabihf  DEB_ARCH=armhf   MUSL=arm-linux-musleabihf ;;
    riscv64) TRIPLE=riscv64gc-unknown-linux-musl    DEB_ARCH=riscv64 MUSL=riscv64-linux-musl ;;
    *) echo "ARCH=$ARCH: no such architecture; one of: $ARCHES" >&2; exit 2 ;;
esac
