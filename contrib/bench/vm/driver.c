// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Calls a program often and takes the time: the same loop for native and for generated code. */
#include <time.h>

typedef long long (*program)(void *ctx, void *env);

/* Nanoseconds of `times` calls. */
long long drive(program prog, void *ctx, void *env, long long times)
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (long long i = 0; i < times; i++)
		prog(ctx, env);
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec;
}
