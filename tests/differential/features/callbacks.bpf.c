/* bpf_loop and bpf_for_each_map_elem: contexts on the stack, nesting, results in range. */
#include "common.h"

MAP(values, BPF_MAP_TYPE_ARRAY, __u32, struct pair, 4);
MAP(table, BPF_MAP_TYPE_HASH, __u64, struct pair, 16);

struct bpf_map;

struct state {
	__u64 total;
	__u32 turns;
	char text[16];
};

static long turn(__u32 i, void *data)
{
	struct state *s = data;

	s->total += i;
	s->text[i & 15] = i;
	if (s->turns++ > 8)
		return 1;
	return 0;
}

static long turn_null(__u32 i, void *data)
{
	return i > 3;
}

static long inner(__u32 i, void *data)
{
	__u64 *total = data;

	*total ^= i;
	return 0;
}

static long outer(__u32 i, void *data)
{
	struct state *s = data;

	bpf_loop(4, inner, &s->total, 0);
	return data == 0;
}

static long each(struct bpf_map *map, __u64 *key, struct pair *value, struct state *s)
{
	s->total += *key + value->a;
	value->b = s->turns & 7;
	return value->c > 4;
}

static long each_index(struct bpf_map *map, __u32 *key, struct pair *value, struct state *s)
{
	if (*key < 16)
		s->text[*key] = value->c;
	return 0;
}

SEC("kprobe") int loop(void *ctx)
{
	struct state s = {};

	bpf_loop(bpf_get_prandom_u32() & 63, turn, &s, 0);
	return s.total + s.text[3];
}

SEC("kprobe") int loop_constant(void *ctx)
{
	struct state s = {};

	bpf_loop(3, turn, &s, 0);
	bpf_loop(10, turn_null, 0, 0);
	return s.turns;
}

SEC("kprobe") int loop_nested(void *ctx)
{
	struct state s = {};

	bpf_loop(16, outer, &s, 0);
	return s.total;
}

SEC("kprobe") int each_table(void *ctx)
{
	struct state s = {};

	return bpf_for_each_map_elem(&table, each, &s, 0) + s.total;
}

SEC("xdp") int each_array(struct xdp_md *ctx)
{
	struct state s = {};

	bpf_for_each_map_elem(&values, each_index, &s, 0);
	return s.text[2] ? XDP_DROP : XDP_PASS;
}

SEC("kprobe") int use_after(void *ctx)
{
	struct state s = {};
	struct pair *p;
	__u32 key = 0;

	p = bpf_map_lookup_elem(&values, &key);
	if (!p)
		return 0;
	bpf_loop(p->b, turn, &s, 0);
	p->a = s.total;
	return s.text[p->c & 15];
}
