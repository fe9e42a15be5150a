// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Integer logarithms by halving, as histogram programs compute them. */
#include "bench.h"

u32 seed = 12345;

SUBPROGRAM u32 log2_32(u32 v)
{
	u32 r, shift;

	r = (v > 0xffff) << 4;
	v >>= r;
	shift = (v > 0xff) << 3;
	v >>= shift;
	r |= shift;
	shift = (v > 0xf) << 2;
	v >>= shift;
	r |= shift;
	shift = (v > 0x3) << 1;
	v >>= shift;
	return r | shift | (v >> 1);
}

PROGRAM
int prog(void *ctx)
{
	u32 x = seed, sum = 0;

	for (u32 i = 0; i < 256; i++) {
		x = x * 1103515245 + 12345;
		sum += log2_32(x);
	}
	return sum;
}
