// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Calls five functions deep. */
#include "bench.h"

u64 seed = 3;

NOINLINE u64 five(u64 x) { return x * 3 + 1; }
NOINLINE u64 four(u64 x) { return five(x ^ 5) + five(x + 1); }
NOINLINE u64 three(u64 x) { return four(x + 3) ^ x; }
NOINLINE u64 two(u64 x) { return three(x) + three(x >> 1); }
NOINLINE u64 one(u64 x) { return two(x * 7) - x; }

PROGRAM
int prog(void *ctx)
{
	u64 x = seed;

	for (u32 i = 0; i < 64; i++)
		x = one(x);
	return x;
}
