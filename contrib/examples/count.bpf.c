// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Counts system calls by number: cat M/sys/fs/bpf/count/maps/hits. */
#include "kprobe.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

SEC("kprobe/do_syscall_64")
int BPF_KPROBE(count, struct pt_regs *regs, int nr)
{
	__u32 key = nr;
	__u64 zero = 0, *hit;

	hit = bpf_map_lookup_elem(&hits, &key);
	if (!hit) {
		bpf_map_update_elem(&hits, &key, &zero, BPF_NOEXIST);
		hit = bpf_map_lookup_elem(&hits, &key);
		if (!hit)
			return 0;
	}
	__sync_fetch_and_add(hit, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
