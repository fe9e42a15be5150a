/* Memory of ring buffers: reserved, written, given back on every way. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");
MAP(values, BPF_MAP_TYPE_ARRAY, __u32, struct pair, 4);

static __noinline void send(struct pair *p, int drop)
{
	if (drop)
		bpf_ringbuf_discard(p, 0);
	else
		bpf_ringbuf_submit(p, 0);
}

SEC("kprobe") int reserve(void *ctx)
{
	struct pair *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0);

	if (!p)
		return 0;
	p->a = bpf_ktime_get_ns();
	p->c = 3;
	bpf_get_current_comm(p, sizeof(*p));
	bpf_ringbuf_submit(p, 0);
	return 0;
}

SEC("kprobe") int reserve_two(void *ctx)
{
	struct pair *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0), *q;

	if (!p)
		return 0;
	q = bpf_ringbuf_reserve(&ring, 40, 0);
	if (!q) {
		bpf_ringbuf_discard(p, 0);
		return 1;
	}
	*q = *p;
	bpf_ringbuf_submit(q, 0);
	bpf_ringbuf_submit(p, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("kprobe") int give_to_function(void *ctx)
{
	struct pair *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0);

	if (p)
		send(p, bpf_get_prandom_u32() & 1);
	return 0;
}

SEC("kprobe") int choose(void *ctx)
{
	__u32 n = bpf_get_prandom_u32(), key = n & 3;
	char *p = bpf_ringbuf_reserve(&ring, 64, 0);
	struct pair *value;

	if (!p)
		return 0;
	value = bpf_map_lookup_elem(&values, &key);
	if (value && value->b < 64)
		p[value->b] = value->c;
	if (n > 1000)
		bpf_ringbuf_discard(p, 0);
	else
		bpf_ringbuf_submit(p, 0);
	return 0;
}

SEC("kprobe") int output(void *ctx)
{
	struct pair p = {1, 2, 3};

	bpf_ringbuf_output(&ring, &p, sizeof(p), 0);
	return bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
}

static long take(__u32 i, void *data)
{
	struct pair *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0);

	return p != 0;
}

static long take_and_give(__u32 i, void *data)
{
	struct pair *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0);

	if (!p)
		return 1;
	p->b = i;
	bpf_ringbuf_submit(p, 0);
	return 0;
}

static long give(__u32 i, void **data)
{
	bpf_ringbuf_discard(*data, 0);
	return 0;
}

SEC("kprobe") int reject_take_in_callback(void *ctx)
{
	bpf_loop(3, take, 0, 0);
	return 0;
}

SEC("kprobe") int turns(void *ctx)
{
	bpf_loop(bpf_get_prandom_u32(), take_and_give, 0, 0);
	return 0;
}

SEC("kprobe") int reject_give_in_callback(void *ctx)
{
	void *p = bpf_ringbuf_reserve(&ring, 8, 0);

	if (p)
		bpf_loop(3, give, &p, 0);
	return 0;
}

SEC("kprobe") int held_over_callback(void *ctx)
{
	struct pair *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0);

	if (!p)
		return 0;
	bpf_loop(3, take_and_give, 0, 0);
	p->a = 3;
	bpf_ringbuf_submit(p, 0);
	return 0;
}

SEC("kprobe") int reject_use_after_submit(void *ctx)
{
	struct pair *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0);

	if (!p)
		return 0;
	bpf_ringbuf_submit(p, 0);
	return p->c;
}

SEC("kprobe") int reject_submit_of_part(void *ctx)
{
	struct pair *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0);

	if (!p)
		return 0;
	bpf_ringbuf_submit(&p->b, 0);
	return 0;
}

SEC("tc") int reject_leak_on_one_way(struct __sk_buff *skb)
{
	struct pair *p = bpf_ringbuf_reserve(&ring, sizeof(*p), 0);

	if (!p)
		return 0;
	bpf_map_update_elem(&values, &(__u32){1}, p, 0);
	if (p->a > 3)
		return 1;
	bpf_ringbuf_discard(p, 0);
	return 0;
}
