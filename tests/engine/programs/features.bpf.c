// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One program for each thing that compilers make of C: every one returns a digest of what it did. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define ENTRIES 8

struct pair {
	__u32 a;
	__u64 b;
	char name[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ENTRIES);
	__type(key, struct pair);
	__type(value, struct pair);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ENTRIES);
	__type(key, __u32);
	__type(value, __u64);
} array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ENTRIES);
	__type(key, __u32);
	__type(value, struct pair);
} percpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} jumps SEC(".maps");

const volatile int limit = 5;
const char text[] = "constant text";
int initialised = 42;
__u64 zeros[4];

static __attribute__((noinline)) int fibonacci(int n)
{
	int a = 0, b = 1;

	for (int i = 0; i < 20 && i < n; i++) {
		int c = a + b;

		a = b;
		b = c;
	}
	return a;
}

__attribute__((noinline)) int global_function(int x)
{
	return fibonacci(x & 15) * 2 + limit;
}

SEC("socket")
int globals(struct __sk_buff *skb)
{
	zeros[1] += skb->len;
	zeros[3] = initialised;
	initialised += limit;
	return zeros[1] * 31 + zeros[3] + initialised + text[3];
}

SEC("socket")
int calls(struct __sk_buff *skb)
{
	return global_function(skb->len) + fibonacci(limit);
}

SEC("socket")
int structs(struct __sk_buff *skb)
{
	struct pair key = { .a = 1, .b = skb->len }, value = {}, *found;
	int sum = 0;

	for (int i = 0; i < 4; i++) {
		key.a = i;
		value.b = i * 10;
		value.name[i] = 'a' + i;
		bpf_map_update_elem(&table, &key, &value, BPF_ANY);
	}
	for (int i = 0; i < 6; i++) {
		key.a = i;
		found = bpf_map_lookup_elem(&table, &key);
		sum = sum * 7 + (found ? (int)found->b + found->name[i & 7] : -1);
	}
	key.a = 2;
	return sum * 3 + bpf_map_delete_elem(&table, &key) + bpf_map_delete_elem(&table, &key);
}

static long add_index(__u32 index, void *context)
{
	__u64 *sum = context;

	*sum += index * index;
	return index == 20;
}

static long add_element(struct bpf_map *map, __u32 *key, __u64 *value, void *context)
{
	__u64 *sum = context;

	*sum = *sum * 5 + *key + *value;
	*value += 1;
	return 0;
}

SEC("socket")
int callbacks(struct __sk_buff *skb)
{
	__u64 sum = 0;
	long count;

	count = bpf_loop(limit, add_index, &sum, 0);
	count += bpf_loop(100, add_index, &sum, 0) * 1000;
	count += bpf_for_each_map_elem(&array, add_element, &sum, 0);
	return count * 31 + sum;
}

SEC("socket")
int percpu_values(struct __sk_buff *skb)
{
	__u32 key = skb->len & (ENTRIES - 1);
	struct pair *value = bpf_map_lookup_elem(&percpu, &key);

	if (!value)
		return -1;
	value->a += 3;
	__builtin_memcpy(value->name, text, 8);
	return value->a + value->name[4];
}

SEC("socket")
int atomics(struct __sk_buff *skb)
{
	__u32 key = 1;
	__u64 *value = bpf_map_lookup_elem(&array, &key), old;

	if (!value)
		return -1;
	old = __sync_fetch_and_add(value, 40);
	old += __sync_fetch_and_or(value, 3);
	old += __sync_fetch_and_and(value, ~8);
	old += __sync_fetch_and_xor(value, 0x55);
	old += __sync_lock_test_and_set(value, 9);
	old += __sync_val_compare_and_swap(value, 9, 11);
	old += __sync_val_compare_and_swap(value, 9, 13);
	return old * 100 + *value;
}

SEC("socket")
int last(struct __sk_buff *skb)
{
	return skb->len + 1000;
}

SEC("socket")
int jumper(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &jumps, 1);
	bpf_tail_call(skb, &jumps, 0);
	return 7;
}

SEC("socket")
int switches(struct __sk_buff *skb)
{
	int result = 0;

	for (int i = 0; i < 16; i++) {
		switch ((skb->len + i) % 7) {
		case 0: result += 5; break;
		case 1: result ^= 77; break;
		case 2: result <<= 1; break;
		case 3: result -= i; break;
		case 4: result *= 3; break;
		case 5: result = (__u32)result / 3; break;
		default: result = -result; break;
		}
	}
	return result;
}

char LICENSE[] SEC("license") = "GPL";
