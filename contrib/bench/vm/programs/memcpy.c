// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A copy of 2048 bytes, word by word. */
#include "bench.h"

u64 from[256], to[256];

PROGRAM
int prog(void *ctx)
{
	for (u32 i = 0; i < 256; i++)
		to[i] = from[i];
	return to[255] + 1;
}
