/* The guest's meter: what the kernel starts as PID 1 of a benchmark.
 *
 * It forks itself, writes the time into the FIFO and becomes the PID 1 under test (bench_pid1= on the
 * kernel command line). The fork stays as a child of that PID 1, reads what the services write, plays
 * the scenario, prints `BENCH name value` lines on the serial console and switches the machine off.
 *
 * Under QEMU's -icount shift=0 a nanosecond of CLOCK_MONOTONIC is one guest instruction and idle time
 * is skipped, so the figures repeat whatever the host is doing. Sleeping costs nothing here, which is
 * why the meter may wait as long as it likes for the guest to be quiet.
 */
#include "guest.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- meter --------------------------------------------------------------------------------- */

#define MAX 4096

static int fifo, console;
static int pid_of[MAX];

static void report(const char *name, double value)
{
	dprintf(console, "BENCH %s %.3f\n", name, value);
}

/* The next line from the FIFO, or ns = 0 after this many (guest) seconds without one. */
static struct line next(int seconds)
{
	struct line l = { 0 };
	struct pollfd p = { fifo, POLLIN, 0 };
	if (poll(&p, 1, seconds * 1000) != 1 || read(fifo, &l, sizeof l) != sizeof l) l.ns = 0;
	else if (l.number >= 0 && l.number < MAX) pid_of[l.number] = l.pid;
	return l;
}

/* Of a process: its comm, and whether it is one of the kernel's. */
static int comm_of(int pid, char *comm, size_t size)
{
	char path[64];
	int fd, n;
	snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
	if ((fd = open(path, O_RDONLY)) < 0) return 0;
	n = read(fd, comm, size - 1);
	close(fd);
	if (n <= 0) return 0; /* the kernel's */
	comm[n] = 0;
	return 1;
}

static long field(const char *path, const char *key)
{
	static char text[65536];
	int fd = open(path, O_RDONLY), n = 0, r;
	char *at;
	if (fd < 0) return 0;
	while ((r = read(fd, text + n, sizeof text - 1 - n)) > 0) n += r;
	close(fd);
	text[n] = 0;
	at = strstr(text, key);
	return at ? atol(at + strlen(key)) : 0;
}

/* Calls f for each supervisor: every user process but the services and the meter. */
static void supervisors(void (*f)(int pid, const char *cmd))
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	char cmd[256];
	while (d && (e = readdir(d))) {
		int pid = atoi(e->d_name);
		if (pid <= 0 || pid == getpid() || !comm_of(pid, cmd, sizeof cmd)) continue;
		if (strstr(cmd, "service") == cmd || strstr(cmd, "/bench/service") == cmd) continue;
		f(pid, cmd);
	}
	if (d) closedir(d);
}

/* CPU time of a process so far, in nanoseconds (the first number of schedstat). */
static long long cpu_of(int pid)
{
	char path[64], text[64] = "";
	int fd, n;
	snprintf(path, sizeof path, "/proc/%d/schedstat", pid);
	if ((fd = open(path, O_RDONLY)) < 0) return 0;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	return n > 0 ? atoll(text) : 0;
}

static long pss_total, switches;
static int manager, helper;

static void add_memory(int pid, const char *cmd)
{
	char path[64];
	long pss;
	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
	pss = field(path, "\nPss:");
	pss_total += pss;
	dprintf(console, "NOTE %s (pid %d): PSS %ld KiB, CPU so far %.3f ms\n", cmd, pid, pss, cpu_of(pid) / 1e6);
	if (pid == 1) report("pss_init", pss);
}

static void add_switches(int pid, const char *cmd)
{
	char path[64];
	(void)cmd;
	snprintf(path, sizeof path, "/proc/%d/status", pid);
	switches += field(path, "\nvoluntary_ctxt_switches:");
}

/* What is behind the descriptors of PID 1 that are memory: the stores of all of us, which it keeps. */
static long long stores;

static void add_stores(int pid, const char *cmd)
{
	char path[64], to[64];
	struct dirent *e;
	struct stat s;
	DIR *d;
	int n;
	(void)cmd;
	if (pid != 1) return;
	d = opendir("/proc/1/fd");
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof path, "/proc/1/fd/%.16s", e->d_name);
		n = readlink(path, to, sizeof to);
		if (n > 7 && !strncmp(to, "/memfd:", 7) && !stat(path, &s)) stores += s.st_blocks * 512LL;
	}
	if (d) closedir(d);
}

static void find_ours(int pid, const char *cmd)
{
	if (strstr(cmd, "helpers/service") || strstr(cmd, "sysmaster-service")) helper = pid;
	else if (pid != 1 && strstr(cmd, "sysmaster")) manager = pid;
}

static long long cpu_total;

static void add_cpu(int pid, const char *cmd)
{
	(void)cmd;
	cpu_total += cpu_of(pid);
}

/* What PID 1, and all supervisors together, spend on an orphan, in microseconds: a hundred parents
 * leave two hundred dead children each. */
static void orphans(void)
{
	enum { PARENTS = 100, CHILDREN = 200 };
	long long init = cpu_of(1), all;
	int i, j;
	supervisors(add_cpu);
	all = cpu_total;
	for (i = 0; i < PARENTS; i++) {
		int parent = fork();
		if (!parent) {
			for (j = 0; j < CHILDREN; j++)
				if (!fork()) _exit(0);
			_exit(0);
		}
		waitpid(parent, NULL, 0);
		sleep(1);
	}
	sleep(10);
	report("orphan_init", (cpu_of(1) - init) / 1e3 / (PARENTS * CHILDREN));
	cpu_total = 0;
	supervisors(add_cpu);
	report("orphan_all", (cpu_total - all) / 1e3 / (PARENTS * CHILDREN));
}

static int by_size(const void *a, const void *b)
{
	int64_t x = *(int64_t *)a, y = *(int64_t *)b;
	return x < y ? -1 : x > y;
}

/* Median time from kill -9 of a service to the first instruction of its next instance, in ms. */
static double restart_median(int count)
{
	int64_t took[20], at;
	int i, n = 0;
	for (i = 0; i < 20 && i < count; i++) {
		struct line l;
		at = now();
		kill(pid_of[i], SIGKILL);
		l = next(20);
		if (l.ns) took[n++] = l.ns - at;
		sleep(3);
	}
	if (!n) return -1;
	qsort(took, n, sizeof *took, by_size);
	return took[n / 2] / 1e6;
}

/* Until a service that is killed now is back, from this moment on, in ms. */
static double back(int64_t at, int victim)
{
	struct line l;
	kill(pid_of[victim], SIGKILL);
	l = next(60);
	sleep(20);
	return l.ns ? (l.ns - at) / 1e6 : -1;
}

/* From a signal to the manager (and the kill of the helper) until a service that dies in the same instant is back. */
static double recovery(int signal, int both, int victim)
{
	int64_t at;
	manager = helper = 0;
	supervisors(find_ours);
	if (!manager || !helper) return -1;
	at = now();
	kill(manager, signal);
	if (both) kill(helper, SIGKILL);
	return back(at, victim);
}

/* The same of a manager that does nothing any more, and is not stopped: a debugger holds it. It owes init an answer, for
   an orphan that has ended. */
static double hang(int victim)
{
	int64_t at;
	int parent, status;
	manager = helper = 0;
	supervisors(find_ours);
	if (!manager) return -1;
	at = now();
	/* Who is traced is dead for his parent when the tracer has seen it. */
	if (!fork()) {
		ptrace(PTRACE_SEIZE, manager, 0, 0);
		ptrace(PTRACE_INTERRUPT, manager, 0, 0);
		while (waitpid(manager, &status, __WALL) == manager && WIFSTOPPED(status)) {}
		_exit(0);
	}
	usleep(1000);
	parent = fork();
	if (!parent) {
		if (!fork()) {
			usleep(1000);
			_exit(0);
		}
		_exit(0);
	}
	waitpid(parent, NULL, 0);
	return back(at, victim);
}

#define PROGRAM "/usr/lib/sysmaster/sysmaster"

/* From `sctl upgrade` until the new manager is there and has restarted a service that dies then. What it upgrades to is
   what is installed, and stays on trial. */
static double upgrade(int victim)
{
	char *args[] = { "sctl", "upgrade", "--no-block", "--trial=600", PROGRAM, NULL };
	int before, sctl;
	int64_t at;
	manager = helper = 0;
	supervisors(find_ours);
	before = manager;
	at = now();
	sctl = fork();
	if (!sctl) {
		execv(PROGRAM, args);
		_exit(127);
	}
	waitpid(sctl, NULL, 0);
	while (now() - at < 60000000000LL && (manager == before || !manager)) {
		usleep(1000);
		manager = 0;
		supervisors(find_ours);
	}
	return back(at, victim);
}

/* The machine's memory that is in use, in KiB. */
static long used(void)
{
	return field("/proc/meminfo", "MemTotal:") - field("/proc/meminfo", "MemFree:");
}

static void meter(int count, int full)
{
	int64_t first = 0, last = 0, born = next(20).ns;
	long idle, pss;
	int i;
	struct line l;
	for (i = 0; i < count; i++) {
		if (!(l = next(120)).ns) break;
		if (!first) first = l.ns;
		last = l.ns; 
	}
	report("started", i);
	report("first", (first - born) / 1e6);
	report("boot", (last - born) / 1e6);
	sleep(20);
	report("mem_used", used());
	supervisors(add_memory);
	report("pss", pss_total);
	supervisors(add_switches);
	idle = switches;
	sleep(600);
	switches = 0;
	supervisors(add_switches);
	report("wakeups", switches - idle);
	pss = pss_total;
	pss_total = 0;
	supervisors(add_memory);
	report("pss_grown", pss_total - pss);
	supervisors(add_stores);
	report("stores", stores / 1024.0);
	orphans();
	if (i == count) report("restart", restart_median(count));
	if (i == count && full) {
		report("recovery_manager", recovery(SIGKILL, 0, 1 % count));
		report("recovery_both", recovery(SIGKILL, 1, 2 % count));
		report("recovery_stop", recovery(SIGSTOP, 0, 6 % count));
		report("recovery_hang", hang(7 % count));
		report("reexec", recovery(SIGTERM, 0, 3 % count));
		report("upgrade", upgrade(4 % count));
		/* Its own fault: the version before comes back, with its helper. */
		report("taken_back", recovery(SIGABRT, 0, 5 % count));
	}
	dprintf(console, "BENCH end 0\n");
	sync();
	reboot(RB_POWER_OFF);
}

/* ---- init ---------------------------------------------------------------------------------- */

static const char *option(const char *key, const char *otherwise)
{
	const char *value = getenv(key);
	return value ? value : otherwise;
}

int main(void)
{
	struct line start = { .number = -1 };
	char *args[] = { (char *)option("bench_pid1", "/bench/service"), NULL };
	int count, full;
	/* The kernel hands `name=value` words it does not know to us as our environment. */
	count = atoi(option("bench_n", "50"));
	full = !!getenv("bench_full");
	mount("proc", "/proc", "proc", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mkfifo(FIFO, 0666);
	console = open("/dev/console", O_WRONLY | O_CLOEXEC | O_NOCTTY);
	fifo = open(FIFO, O_RDWR | O_CLOEXEC);
	if (!fork()) {
		setsid();
		meter(count, full);
	}
	sleep(10); /* until the kernel has nothing left to do of its own */
	start.ns = now();
	if (write(fifo, &start, sizeof start) == sizeof start) execve(args[0], args, environ);
	dprintf(console, "BENCH error %d\n", errno);
	return 1;
}
