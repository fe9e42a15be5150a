// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Map operations, OPS in each run; the machine's kernel runs the same object.
 *
 * Each key depends on what the operation before it gave, so that operations can be neither merged nor left out.
 */
#include "bench.h"

#define OPS 64
#define RUNS 1000

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__type(key, u32);
	__type(value, u64);
} large SEC(".maps");

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

u32 inserted, deleted;

/* The next key: each of OPS comes once, as `found` is a multiple of OPS. */
static __always_inline u32 after(u32 key, u64 found)
{
	return (key * 5 + 1 + found) % OPS;
}

PROGRAM
int hash_update(void *ctx)
{
	u32 key = 0;

	for (u32 i = 0; i < OPS; i++) {
		u64 value = i * OPS;

		key = after(key, bpf_map_update_elem(&table, &key, &value, BPF_ANY));
	}
	return key;
}

PROGRAM
int hash_lookup(void *ctx)
{
	u32 key = 0;

	for (u32 i = 0; i < OPS; i++) {
		u64 *value = bpf_map_lookup_elem(&table, &key);

		if (!value)
			return -1;
		key = after(key, *value);
	}
	return key;
}

/* New keys, OPS * RUNS of them; hash_delete takes them away again. */
PROGRAM
int hash_insert(void *ctx)
{
	long failed = 0;

	for (u32 i = 0; i < OPS; i++) {
		u32 key = inserted;
		u64 value = i;

		failed |= bpf_map_update_elem(&large, &key, &value, BPF_NOEXIST);
		inserted = key + 1 < OPS * RUNS ? key + 1 : 0;
	}
	return failed;
}

PROGRAM
int hash_delete(void *ctx)
{
	long failed = 0;

	for (u32 i = 0; i < OPS; i++) {
		u32 key = deleted;

		failed |= bpf_map_delete_elem(&large, &key);
		deleted = key + 1 < OPS * RUNS ? key + 1 : 0;
	}
	return failed;
}

PROGRAM
int array_lookup(void *ctx)
{
	u32 key = 0;

	for (u32 i = 0; i < OPS; i++) {
		u64 *value = bpf_map_lookup_elem(&array, &key);

		if (!value)
			return -1;
		key = after(key, *value);
	}
	return key;
}

PROGRAM
int array_counter(void *ctx)
{
	u32 key = 0;

	for (u32 i = 0; i < OPS; i++) {
		u64 *value = bpf_map_lookup_elem(&array, &key);

		if (!value)
			return -1;
		__sync_fetch_and_add(value, OPS);
		key = after(key, *value);
	}
	return key;
}

PROGRAM
int percpu_counter(void *ctx)
{
	u32 key = 0;

	for (u32 i = 0; i < OPS; i++) {
		u64 *value = bpf_map_lookup_elem(&percpu, &key);

		if (!value)
			return -1;
		*value += OPS;
		key = after(key, *value);
	}
	return key;
}
