/* The service of the benchmarks, and the floor they are measured against; one small static program.
 *
 *   service NUMBER   writes (number, pid, time) to the FIFO as its first act, says READY=1 if
 *                    somebody listens, and sleeps.
 *   floor            the least an init can do: vfork, exec, and respawn what dies.
 */
#include "guest.h"
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX 4096

/* ---- service ------------------------------------------------------------------------------- */

static void say_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int s;
	if (!path || strlen(path) >= sizeof to.sun_path) return;
	strcpy(to.sun_path, path);
	if (*path == '@') to.sun_path[0] = 0;
	s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	sendto(s, "READY=1", 7, 0, (void *)&to, offsetof(struct sockaddr_un, sun_path) + strlen(path));
	close(s);
}

static int service(int number)
{
	struct line l = { .number = number, .ns = now() };
	int fd = open(FIFO, O_WRONLY);
	l.pid = getpid();
	if (fd < 0 || write(fd, &l, sizeof l) != sizeof l) return 1;
	close(fd);
	say_ready();
	for (;;) pause();
}

/* ---- floor --------------------------------------------------------------------------------- */

static int spawn(int i)
{
	char number[8] = "";
	char *args[] = { "service", number, NULL }, *env[] = { "PATH=/bin", NULL };
	int pid, n = i, at = 0, div;
	for (div = 1000; div; n %= div, div /= 10) number[at++] = '0' + n / div;
	if (!(pid = vfork())) { execve("/bench/service", args, env); _exit(127); }
	return pid;
}

static _Noreturn void floor_init(int count)
{
	static int pid_of[MAX];
	int i, pid, status;
	for (i = 0; i < count && i < MAX; i++) pid_of[i] = spawn(i);
	while ((pid = wait(&status)) > 0 || errno == EINTR)
		for (i = 0; i < count; i++)
			if (pid_of[i] == pid) {
				pid_of[i] = spawn(i);
				break;
			}
	for (;;) pause();
}

int main(int argc, char **argv)
{
	const char *count = getenv("bench_n"); /* the kernel's command line becomes our environment */
	if (argc > 1) return service(atoi(argv[1]));
	floor_init(count ? atoi(count) : 50);
}
