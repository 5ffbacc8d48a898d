/* The program of every service in the comparison with systemd. It says what happens to it, and does
 * what its unit wants it to do.
 *
 *   act NAME BEHAVIOUR...     the first start follows the first behaviour, the second start the
 *                             second, and so on; the last one is for all further starts
 *
 * A behaviour is a list of steps with commas between them:
 *
 *   sleep=MS   waits                  ready     says READY=1
 *   exit=N     ends with this status  hold      waits for SIGTERM
 *   term=MS    from here on, SIGTERM is obeyed only after this time (at once otherwise); with status 0
 *   deaf       from here on, SIGTERM is not obeyed at all
 *
 * Each start, step that others may see, and end is one line `NAME EVENT MS` in the log, where MS is
 * the boot clock.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char *name;
static volatile int term_ms;

static void say(const char *event)
{
	struct timespec t;
	char line[256];
	int n, log = open("/run/diff/events", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	clock_gettime(CLOCK_BOOTTIME, &t);
	n = snprintf(line, sizeof line, "%s %s %lld\n", name, event, t.tv_sec * 1000LL + t.tv_nsec / 1000000);
	if (write(log, line, n) != n) _exit(70);
	close(log);
}

static void wait_ms(int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000L };
	while (nanosleep(&t, &t)) {}
}

static void on_term(int signal)
{
	(void)signal;
	say("term");
	if (term_ms < 0) return;
	if (term_ms > 0) {
		wait_ms(term_ms);
		say("end");
	}
	_exit(0);
}

static void ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	say("ready");
	if (!path || strlen(path) >= sizeof to.sun_path) return;
	strcpy(to.sun_path, path);
	if (*path == '@') to.sun_path[0] = 0;
	sendto(s, "READY=1", 7, 0, (void *)&to, offsetof(struct sockaddr_un, sun_path) + strlen(path));
	close(s);
}

/* How often this service was started before. */
static int starts(void)
{
	char path[256];
	struct stat st;
	int fd;
	snprintf(path, sizeof path, "/run/diff/starts.%s", name);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || fstat(fd, &st) || write(fd, ".", 1) != 1) _exit(71);
	close(fd);
	return st.st_size;
}

static void follow(char *behaviour)
{
	char *step, *value, event[32];
	for (step = strtok(behaviour, ","); step; step = strtok(NULL, ",")) {
		if ((value = strchr(step, '='))) *value++ = 0;
		if (!strcmp(step, "sleep") && value) wait_ms(atoi(value));
		else if (!strcmp(step, "term") && value) term_ms = atoi(value);
		else if (!strcmp(step, "deaf")) term_ms = -1;
		else if (!strcmp(step, "ready")) ready();
		else if (!strcmp(step, "hold")) for (;;) pause();
		else if (!strcmp(step, "exit") && value) {
			snprintf(event, sizeof event, "exit-%s", value);
			say(event);
			_exit(atoi(value));
		} else _exit(72);
	}
	_exit(73);
}

int main(int argc, char **argv)
{
	int start;
	if (argc < 3) return 74;
	name = argv[1];
	start = starts();
	signal(SIGTERM, on_term);
	say("begin");
	follow(argv[start + 2 < argc ? start + 2 : argc - 1]);
}
