// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Map operations, OPS in each run; the machine's kernel runs the same object. */
#include "bench.h"

#define OPS 64

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OPS);
	__type(key, u32);
	__type(value, u64);
} array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OPS);
	__type(key, u32);
	__type(value, u64);
} percpu SEC(".maps");

PROGRAM
int hash_update(void *ctx)
{
	for (u32 i = 0; i < OPS; i++) {
		u32 key = i;
		u64 value = i;

		bpf_map_update_elem(&table, &key, &value, BPF_ANY);
	}
	return 0;
}

PROGRAM
int hash_lookup(void *ctx)
{
	u64 sum = 0;

	for (u32 i = 0; i < OPS; i++) {
		u32 key = i;
		u64 *value = bpf_map_lookup_elem(&table, &key);

		if (value)
			sum += *value;
	}
	return sum;
}

PROGRAM
int hash_delete_update(void *ctx)
{
	for (u32 i = 0; i < OPS; i++) {
		u32 key = i;
		u64 value = i;

		bpf_map_delete_elem(&table, &key);
		bpf_map_update_elem(&table, &key, &value, BPF_ANY);
	}
	return 0;
}

PROGRAM
int array_lookup(void *ctx)
{
	u64 sum = 0;

	for (u32 i = 0; i < OPS; i++) {
		u32 key = i;
		u64 *value = bpf_map_lookup_elem(&array, &key);

		if (value)
			sum += *value;
	}
	return sum;
}

PROGRAM
int array_counter(void *ctx)
{
	for (u32 i = 0; i < OPS; i++) {
		u32 key = i;
		u64 *value = bpf_map_lookup_elem(&array, &key);

		if (value)
			__sync_fetch_and_add(value, 1);
	}
	return 0;
}

PROGRAM
int percpu_counter(void *ctx)
{
	for (u32 i = 0; i < OPS; i++) {
		u32 key = i;
		u64 *value = bpf_map_lookup_elem(&percpu, &key);

		if (value)
			++*value;
	}
	return 0;
}
