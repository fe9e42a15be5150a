// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Primes below 1024 by the sieve of Eratosthenes. */
#include "bench.h"

#define N 1024

u8 composite[N];

PROGRAM
int prog(void *ctx)
{
	u32 primes = 0;

	for (u32 i = 0; i < N; i++)
		composite[i] = 0;
	for (u32 i = 2; i < N; i++) {
		if (composite[i])
			continue;
		primes++;
		for (u32 j = i * 2; j < N; j += i)
			composite[j] = 1;
	}
	return primes;
}
