/* Static and global functions: pointers to stack, map values and context passed down, results passed up. */
#include "common.h"

MAP(values, BPF_MAP_TYPE_ARRAY, __u32, struct pair, 4);
MAP(table, BPF_MAP_TYPE_HASH, __u64, struct pair, 16);

static __noinline int sum(struct pair *p)
{
	return p ? p->a + p->b : 0;
}

static __noinline struct pair *find(__u32 key)
{
	return bpf_map_lookup_elem(&values, &key);
}

static __noinline void fill(struct pair *out, __u64 x)
{
	out->a = x;
	out->b = x >> 3;
	out->c = bpf_get_prandom_u32();
}

static __noinline __u32 clamp(__u32 x)
{
	return x > 12 ? 12 : x;
}

__noinline int global_scalar(__u32 x)
{
	volatile char room[64] = {};

	room[x & 63] = x;
	return room[(x >> 3) & 63];
}

__noinline int global_pair(struct pair *p)
{
	if (!p)
		return -1;
	p->b += 1;
	return p->c;
}

__noinline int global_word(__u64 *word, int n)
{
	return word ? (int)(*word >> (n & 31)) : n;
}

__noinline int global_nested(struct pair *p, __u32 x)
{
	return global_pair(p) + global_scalar(x);
}

SEC("kprobe") int pass_stack(void *ctx)
{
	struct pair p;

	fill(&p, bpf_ktime_get_ns());
	return sum(&p);
}

SEC("kprobe") int pass_value(void *ctx)
{
	struct pair *p = find(bpf_get_prandom_u32() & 3);

	return sum(p);
}

SEC("kprobe") int index_by_callee(void *ctx)
{
	__u32 key = 1;
	char *p = bpf_map_lookup_elem(&values, &key);

	if (!p)
		return 0;
	return p[clamp(bpf_get_prandom_u32())];
}

SEC("kprobe") int call_globals(void *ctx)
{
	struct pair p = {};
	__u64 word = bpf_get_prandom_u32();

	return global_pair(&p) + global_scalar(word) + global_word(&word, 3) + global_nested(&p, 4) + global_pair(0);
}

SEC("kprobe") int global_on_value(void *ctx)
{
	__u64 key = bpf_get_prandom_u32();
	struct pair *p = bpf_map_lookup_elem(&table, &key);

	return global_pair(p) + (p ? global_word(&p->a, 1) : 0);
}

static __noinline int deep3(char *buf, int i)
{
	char more[96];

	__builtin_memset(more, i, sizeof(more));
	buf[i & 7] = more[(i >> 1) & 31];
	return buf[1];
}

static __noinline int deep2(char *buf, int i)
{
	char more[80];

	__builtin_memset(more, i, sizeof(more));
	return deep3(buf, more[i & 15]) + deep3(more, i);
}

static __noinline int deep1(int i)
{
	char more[64];

	__builtin_memset(more, i, sizeof(more));
	return deep2(more, i);
}

SEC("kprobe") int deep(void *ctx)
{
	return deep1(bpf_get_prandom_u32());
}

SEC("socket") int deep_socket(void *ctx)
{
	return deep1(bpf_get_prandom_u32());
}
