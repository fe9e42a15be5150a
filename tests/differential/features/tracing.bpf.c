/* Contexts of tracing programs, kernel objects by their types, strings, tail calls, maps in maps. */
#include "common.h"
#include <linux/bpf_perf_event.h>

struct task_struct {
	int pid;
	struct task_struct *parent;
} __attribute__((preserve_access_index));
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 4);
} jumps SEC(".maps");
struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__type(key, __u32);
	__type(value, __u64);
	__uint(max_entries, 8);
};
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(key_size, 4);
	__uint(value_size, 160);
	__uint(max_entries, 16);
} stacks SEC(".maps");
MAP(values, BPF_MAP_TYPE_ARRAY, __u32, struct pair, 4);
MAP(queue, BPF_MAP_TYPE_LRU_HASH, __u32, struct pair, 16);
const volatile struct pair limits = {17, 5, 9};
__u64 hits;
char text[64];

SEC("kprobe") int registers(struct pt_regs *regs)
{
	char path[32];
	long n = bpf_probe_read_user_str(path, sizeof(path), (void *)regs->rdi);

	if (n > 0 && n <= sizeof(path))
		text[n - 1] = path[0];
	hits++;
	return bpf_get_stackid(regs, &stacks, 0);
}

SEC("tracepoint") int record(__u64 *args)
{
	__u32 key = args[2];
	struct pair fresh = {args[1], key, 1}, *p = bpf_map_lookup_elem(&queue, &key);

	if (!p) {
		bpf_map_update_elem(&queue, &key, &fresh, BPF_NOEXIST);
		return 0;
	}
	__sync_fetch_and_add(&p->a, args[3]);
	p->b = limits.b * 3;
	if (p->c > limits.c)
		bpf_map_delete_elem(&queue, &key);
	return 0;
}

SEC("raw_tracepoint") int raw(struct bpf_raw_tracepoint_args *ctx)
{
	char name[16];
	__u32 n = ctx->args[1] & 15;

	bpf_get_current_comm(name, sizeof(name));
	return name[n] + bpf_probe_read_kernel(text, n, (void *)ctx->args[0]);
}

SEC("perf_event") int sample(struct bpf_perf_event_data *ctx)
{
	__u64 addresses[8] = {};
	long n = bpf_get_stack(ctx, addresses, sizeof(addresses), 0);

	if (n > 8)
		hits += addresses[(n >> 3) & 7];
	return ctx->sample_period + ctx->regs.rip;
}

SEC("kprobe") int maps_in_maps(void *ctx)
{
	__u32 key = bpf_get_prandom_u32() & 3, at = 5;
	void *map = bpf_map_lookup_elem(&outer, &key);
	__u64 *value;

	if (!map)
		return 0;
	value = bpf_map_lookup_elem(map, &at);
	if (value)
		*value += limits.a;
	return 0;
}

static __noinline int jump(void *ctx, __u32 to)
{
	volatile char room[32] = {};

	bpf_tail_call(ctx, &jumps, to);
	return room[3];
}

SEC("kprobe") int tails(void *ctx)
{
	bpf_tail_call(ctx, &jumps, 2);
	return jump(ctx, bpf_get_prandom_u32() & 3);
}

SEC("kprobe") int numbers(void *ctx)
{
	__u32 key = 2, i, n = 0;
	struct pair *p = bpf_map_lookup_elem(&values, &key);
	char *bytes = (void *)p;
	__s32 s;

	if (!p)
		return 0;
	for (i = 0; i < p->b && i < 16; i++)
		n += bytes[i];
	s = (__s32)p->c - 7;
	if (s >= 0 && s < 9)
		bytes[s]++;
	if (p->a)
		n /= p->a;
	__sync_lock_test_and_set(&p->b, n);
	return __sync_val_compare_and_swap(&p->a, 1, n);
}

SEC("kprobe") int strings(void *ctx)
{
	char out[32], number[8] = "12 ";
	static const char format[] = "%d of %s";
	__u64 args[] = {hits, (unsigned long)text};
	long value = 0;

	bpf_snprintf(out, sizeof(out), format, args, sizeof(args));
	bpf_strtol(number, sizeof(number), 0, &value);
	return bpf_strncmp(out, 4, "1 of") + value;
}

SEC("tp_btf/sched_process_exit") int typed(__u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0];

	if (task->pid == task->parent->pid)
		return 0;
	bpf_probe_read_kernel(text, 8, task->parent);
	return 0;
}

SEC("fentry/do_exit") int entry(__u64 *ctx)
{
	hits += ctx[0];
	return 0;
}
