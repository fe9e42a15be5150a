// Programs about functions, callbacks, references and maps: one program a rule, named accept_* or reject_*.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct pair {
	int first;
	long second;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, int);
	__type(value, struct pair);
} pairs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, int);
	__type(value, long);
} array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, long);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, int);
	__array(values, struct inner);
} outer SEC(".maps");

const volatile int limit = 5;
int total;
char text[16];

__noinline int global_scalars(int x, long y)
{
	return x * 3 + y;
}

__noinline int global_memory(struct pair *pair)
{
	return pair ? pair->first + pair->second : 0;
}

__noinline int global_memory_unchecked(struct pair *pair)
{
	return pair->first;
}

static __noinline int static_index(unsigned int i)
{
	return i < 16 ? text[i] : 0;
}

static __noinline long add(__u32 i, void *sum)
{
	*(long *)sum += i;
	return 0;
}

static __noinline long add_and_break(__u32 i, void *sum)
{
	*(long *)sum += i;
	return i;
}

static long count(struct bpf_map *map, const int *key, struct pair *value, void *sum)
{
	*(long *)sum += *key + value->second;
	return 0;
}

SEC("kprobe/a")
int accept_global(void *ctx)
{
	struct pair pair = {1, 2};

	return global_scalars(5, 6) + global_memory(&pair) + global_memory(0);
}

SEC("kprobe/a")
int reject_global_unchecked(void *ctx)
{
	struct pair pair = {1, 2};

	return global_memory_unchecked(&pair);
}

SEC("kprobe/a")
int accept_static(void *ctx)
{
	return static_index(bpf_get_prandom_u32()) + static_index(3);
}

SEC("kprobe/a")
int accept_loop(void *ctx)
{
	long sum = 0;

	bpf_loop(1000, add, &sum, 0);
	return sum;
}

SEC("kprobe/a")
int reject_loop_result(void *ctx)
{
	long sum = 0;

	bpf_loop(1000, add_and_break, &sum, 0);
	return sum;
}

SEC("kprobe/a")
int accept_for_each(void *ctx)
{
	long sum = 0;

	bpf_for_each_map_elem(&pairs, count, &sum, 0);
	return sum;
}

SEC("kprobe/a")
int accept_ring(void *ctx)
{
	long *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (!event)
		return 0;
	*event = bpf_ktime_get_ns();
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("kprobe/a")
int reject_ring_leak(void *ctx)
{
	long *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (event)
		*event = 1;
	return 0;
}

SEC("kprobe/a")
int reject_ring_after_submit(void *ctx)
{
	long *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (!event)
		return 0;
	bpf_ringbuf_submit(event, 0);
	return *event;
}

SEC("kprobe/a")
int reject_ring_bounds(void *ctx)
{
	long *event = bpf_ringbuf_reserve(&ring, sizeof(*event), 0);

	if (!event)
		return 0;
	event[1] = 0;
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("kprobe/a")
int accept_map_in_map(void *ctx)
{
	int zero = 0;
	void *map = bpf_map_lookup_elem(&outer, &zero);
	long *value;

	if (!map)
		return 0;
	value = bpf_map_lookup_elem(map, &zero);
	return value ? *value : 0;
}

SEC("kprobe/a")
int reject_map_in_map_unchecked(void *ctx)
{
	int zero = 0;
	void *map = bpf_map_lookup_elem(&outer, &zero);

	return bpf_map_lookup_elem(map, &zero) != 0;
}

SEC("kprobe/a")
int accept_bounded(void *ctx)
{
	long sum = 0;

	for (int i = 0; i < 100; i++) {
		int key = i & 7;
		long *value = bpf_map_lookup_elem(&array, &key);

		if (value)
			sum += *value;
	}
	return sum;
}

SEC("kprobe/a")
int reject_unbounded(void *ctx)
{
	while (bpf_ktime_get_ns())
		__sync_fetch_and_add(&total, 1);
	return 0;
}

SEC("kprobe/a")
int accept_read_only_limit(void *ctx)
{
	long sum = 0;

	for (int i = 0; i < limit; i++)
		sum += text[i];
	return sum;
}

SEC("kprobe/a")
int accept_null_order(void *ctx)
{
	int key = bpf_get_prandom_u32();
	struct pair *pair = bpf_map_lookup_elem(&pairs, &key);
	struct pair fresh = {};

	if (!pair) {
		bpf_map_update_elem(&pairs, &key, &fresh, BPF_ANY);
		pair = bpf_map_lookup_elem(&pairs, &key);
		if (!pair)
			return 0;
	}
	pair->second++;
	return pair->first;
}

char LICENSE[] SEC("license") = "GPL";
