// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* FNV-1a hash of 1024 bytes. */
#include "bench.h"

u8 text[1024];

PROGRAM
int prog(void *ctx)
{
	u64 hash = 0xcbf29ce484222325ULL;

	for (u32 i = 0; i < sizeof(text); i++) {
		hash ^= text[i];
		hash *= 0x100000001b3ULL;
	}
	return hash ^ hash >> 32;
}
