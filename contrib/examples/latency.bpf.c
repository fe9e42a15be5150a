// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* How long read(2) takes: a histogram of powers of two of nanoseconds, and totals for each CPU. */
#include "kprobe.h"

#define SLOTS 64

struct total {
	__u64 calls;
	__u64 ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u64);
	__type(value, __u64);
} start SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} histogram SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct total);
} total SEC(".maps");

/* Position of the highest bit that is set; 0 for 0. */
static __attribute__((noinline)) __u32 log2(__u64 value)
{
	__u32 bit = 0;

#pragma unroll
	for (int step = 32; step; step >>= 1) {
		if (value >> step) {
			value >>= step;
			bit += step;
		}
	}
	return bit;
}

SEC("kprobe/vfs_read")
int BPF_KPROBE(read_entry)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&start, &id, &now, BPF_ANY);
	return 0;
}

SEC("kretprobe/vfs_read")
int BPF_KRETPROBE(read_return)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u64 *began, *slot, ns;
	struct total *sum;
	__u32 key, zero = 0;

	began = bpf_map_lookup_elem(&start, &id);
	if (!began)
		return 0;
	ns = bpf_ktime_get_ns() - *began;
	bpf_map_delete_elem(&start, &id);

	key = log2(ns);
	slot = bpf_map_lookup_elem(&histogram, &key);
	if (slot)
		__sync_fetch_and_add(slot, 1);
	sum = bpf_map_lookup_elem(&total, &zero);
	if (sum) {
		sum->calls += 1;
		sum->ns += ns;
	}
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
