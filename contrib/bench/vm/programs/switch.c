// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A little machine with sixteen operations: dispatch by switch. */
#include "bench.h"

u32 seed = 99;

PROGRAM
int prog(void *ctx)
{
	u32 x = seed, a = 1, b = 2;

	for (u32 i = 0; i < 256; i++) {
		x = x * 1664525 + 1013904223;
		switch (x >> 28) {
		case 0: a += b; break;
		case 1: a -= b; break;
		case 2: a ^= b; break;
		case 3: b += 7; break;
		case 4: b ^= a; break;
		case 5: a <<= 1; break;
		case 6: a >>= 1; break;
		case 7: b *= 3; break;
		case 8: a |= 1; break;
		case 9: b = ~b; break;
		case 10: a += 11; break;
		case 11: b -= a; break;
		case 12: a *= 5; break;
		case 13: b |= a; break;
		case 14: a &= b; break;
		default: b >>= 2; break;
		}
	}
	return a ^ b;
}
