/* What the programs of the campaign share: programs that use one feature each, to be changed at random. */
#pragma once
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define MAP(name, kind, key_t, value_t, entries)                                                               \
	struct {                                                                                               \
		__uint(type, kind);                                                                            \
		__type(key, key_t);                                                                            \
		__type(value, value_t);                                                                        \
		__uint(max_entries, entries);                                                                  \
	} name SEC(".maps")

struct pair {
	__u64 a;
	__u32 b;
	__u32 c;
};

char LICENSE[] SEC("license") = "GPL";
