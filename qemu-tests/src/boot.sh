# Process 1 of the new namespaces, until it becomes init. Variables come from the environment:
# D (the machine's directory), LACK (words), RUN_SIZE, INIT_ENV (NAME=value words), SECCOMP (numbers).
set -e
lacks() { case " $LACK " in *" $1 "*) return 0 ;; esac; return 1; }

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$D/t"
mkdir "$D/t/upper" "$D/t/work" "$D/t/root"
R=$D/t/root
cp -a "$D/files/." "$D/t/upper/"
mount -t overlay overlay -o "lowerdir=/,upperdir=$D/t/upper,workdir=$D/t/work" "$R"
mkdir -p "$R/old"
mount -t proc proc "$R/proc"
if lacks cgroups; then
    # A read-only /sys without the directory: there is no place to mount a hierarchy.
    mount -t tmpfs tmpfs "$R/sys"
    mount -o remount,ro "$R/sys"
else
    mount -t sysfs sysfs "$R/sys"
    mount -t cgroup2 cgroup2 "$R/sys/fs/cgroup"
fi
mount -t tmpfs -o mode=755 tmpfs "$R/dev"
mknod -m 666 "$R/dev/null" c 1 3
mknod -m 666 "$R/dev/zero" c 1 5
mknod -m 666 "$R/dev/full" c 1 7
mknod -m 666 "$R/dev/random" c 1 8
mknod -m 666 "$R/dev/urandom" c 1 9
mknod -m 666 "$R/dev/tty" c 5 0
if ! lacks console; then
    touch "$R/dev/console"
    mount --bind "$D/console" "$R/dev/console"
fi
# The kernel's log is the host's; what ours write there goes to the console's reader instead.
touch "$R/dev/kmsg"
mount --bind "$D/console" "$R/dev/kmsg"
mount -t tmpfs -o "mode=755,size=${RUN_SIZE:-64m}" tmpfs "$R/run"
mount -t tmpfs -o mode=1777 tmpfs "$R/tmp"
hostname "test-machine" 2> /dev/null || :
cd "$R"
pivot_root . old
if lacks writable_root; then
    umount -l /old
    mount -o remount,ro /
else
    umount -l /old
fi
set -- env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin $INIT_ENV /usr/lib/sysmaster/init
if [ -n "$SECCOMP" ]; then
    exec chroot . python3 -c "$FILTER" "$SECCOMP" "$@" < /dev/null
fi
exec chroot . "$@" < /dev/null
