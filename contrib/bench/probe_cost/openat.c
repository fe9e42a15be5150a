/* Opens a missing file N times and prints the nanoseconds that one call took: `openat N`. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 10000;
	double start = now();

	for (int i = 0; i < n; i++)
		openat(AT_FDCWD, "/nonexistent/file/with/a/name", O_RDONLY);
	printf("%.1f\n", (now() - start) / n);
	return 0;
}
