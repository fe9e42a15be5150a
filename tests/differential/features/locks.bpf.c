/* Spin locks in map values. */
#include "common.h"

struct guarded {
	__u64 before;
	struct bpf_spin_lock lock;
	__u32 count;
	__u64 total;
};
MAP(locked, BPF_MAP_TYPE_ARRAY, __u32, struct guarded, 4);
MAP(locked_hash, BPF_MAP_TYPE_HASH, __u64, struct guarded, 4);

static __noinline void add(struct guarded *g, __u64 n)
{
	g->total += n;
	g->count++;
}

SEC("tc") int lock(struct __sk_buff *skb)
{
	__u32 key = skb->mark & 3;
	struct guarded *g = bpf_map_lookup_elem(&locked, &key);

	if (!g)
		return 0;
	bpf_spin_lock(&g->lock);
	g->count++;
	g->total += skb->len;
	bpf_spin_unlock(&g->lock);
	return 0;
}

SEC("xdp") int lock_two(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 id = 7;
	struct guarded *g = bpf_map_lookup_elem(&locked, &key), *h = bpf_map_lookup_elem(&locked_hash, &id);

	if (!g || !h)
		return XDP_PASS;
	bpf_spin_lock(&g->lock);
	add(g, 1);
	bpf_spin_unlock(&g->lock);
	bpf_spin_lock(&h->lock);
	if (h->total > 4) {
		bpf_spin_unlock(&h->lock);
		return XDP_DROP;
	}
	h->before = 1;
	bpf_spin_unlock(&h->lock);
	return XDP_PASS;
}

SEC("cgroup_skb/egress") int lock_loop(struct __sk_buff *skb)
{
	__u32 key = 1;
	struct guarded *g = bpf_map_lookup_elem(&locked, &key);
	int i;

	if (!g)
		return 1;
	bpf_spin_lock(&g->lock);
	for (i = 0; i < 4; i++)
		g->total += g->count + i;
	bpf_spin_unlock(&g->lock);
	return g->before & 1;
}

SEC("tc") int reject_unlock_of_another(struct __sk_buff *skb)
{
	__u32 one = 1, two = 2;
	struct guarded *g = bpf_map_lookup_elem(&locked, &one), *h = bpf_map_lookup_elem(&locked, &two);

	if (!g || !h)
		return 0;
	bpf_spin_lock(&g->lock);
	bpf_spin_unlock(&h->lock);
	return 0;
}

SEC("tc") int reject_lock_of_callee(struct __sk_buff *skb)
{
	__u32 key = 1;
	struct guarded *g = bpf_map_lookup_elem(&locked, &key);

	if (!g)
		return 0;
	bpf_spin_lock(&g->lock);
	add(g, bpf_ktime_get_ns());
	bpf_spin_unlock(&g->lock);
	return 0;
}

struct timed {
	__u64 before;
	struct bpf_timer timer;
	__u64 after;
};
MAP(timed, BPF_MAP_TYPE_ARRAY, __u32, struct timed, 4);

static __always_inline struct timed *timed_value(void)
{
	__u32 key = 2;

	return bpf_map_lookup_elem(&timed, &key);
}

SEC("tc") int beside_timer(struct __sk_buff *skb)
{
	struct timed *t = timed_value();

	if (t)
		t->after = t->before + 1;
	return 0;
}

SEC("tc") int reject_write_of_timer(struct __sk_buff *skb)
{
	struct timed *t = timed_value();

	if (t)
		((volatile __u64 *)&t->timer)[1] = 1;
	return 0;
}

SEC("tc") int reject_fill_of_timer(struct __sk_buff *skb)
{
	struct timed *t = timed_value();

	return t ? bpf_skb_load_bytes(skb, 0, t, sizeof(*t)) : 0;
}

SEC("kprobe") int reject_timer_of_tracing(void *ctx)
{
	struct timed *t = timed_value();

	return t ? t->before : 0;
}
