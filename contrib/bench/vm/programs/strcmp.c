// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Comparison of two strings that differ at the end. */
#include "bench.h"

#define LENGTH 512

u8 left[LENGTH] = { [0 ... 510] = 'a' };
u8 right[LENGTH] = { [0 ... 509] = 'a', [510] = 'b' };

PROGRAM
int prog(void *ctx)
{
	for (u32 i = 0; i < LENGTH; i++) {
		if (left[i] != right[i])
			return left[i] < right[i] ? -1 : 1;
		if (!left[i])
			break;
	}
	return 0;
}
