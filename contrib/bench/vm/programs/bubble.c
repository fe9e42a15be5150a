// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Bubble sort of 32 numbers that are made anew each time. */
#include "bench.h"

#define N 32

u32 numbers[N];
u32 seed = 7;

PROGRAM
int prog(void *ctx)
{
	u32 x = seed;

	for (u32 i = 0; i < N; i++) {
		x = x * 1103515245 + 12345;
		numbers[i] = x >> 8;
	}
	for (u32 i = 0; i < N - 1; i++) {
		for (u32 j = 0; j < N - 1; j++) {
			u32 a = numbers[j], b = numbers[j + 1];

			if (a > b) {
				numbers[j] = b;
				numbers[j + 1] = a;
			}
		}
	}
	return numbers[0] ^ numbers[N / 2] ^ numbers[N - 1];
}
