// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Nested calls, five functions deep; each of the 64 rounds needs the last one's result. */
#include "bench.h"

u64 seed = 3;

SUBPROGRAM u64 five(u64 x) { return x * 3 + 1; }
SUBPROGRAM u64 four(u64 x) { return five(x ^ 5) + five(x + 1); }
SUBPROGRAM u64 three(u64 x) { return four(x + 3) ^ x; }
SUBPROGRAM u64 two(u64 x) { return three(x) + three(x >> 1); }
SUBPROGRAM u64 one(u64 x) { return two(x * 7) - x; }

PROGRAM
int prog(void *ctx)
{
	u64 x = seed;

	for (u32 i = 0; i < 64; i++)
		x = one(x);
	return x;
}
