/* What the two programs of the guest share: the line a service writes to the FIFO, and the clock. */
#define _GNU_SOURCE
#include <stdint.h>
#include <time.h>

#define FIFO "/bench/fifo"

/* What a service says of its start; number -1 is the moment before PID 1's exec. */
struct line { int32_t number, pid; int64_t ns; };

static int64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}
