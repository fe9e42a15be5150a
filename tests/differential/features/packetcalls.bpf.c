/* Functions that change the packet, load from it or leave it to another program: what callers still know. */
#include "common.h"

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
	__uint(max_entries, 4);
} jumps SEC(".maps");
unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");

/* The number, which the compiler does not know. */
static __always_inline int hidden(int n)
{
	asm volatile("" : "+r"(n));
	return n;
}

static __noinline int pull(struct __sk_buff *skb)
{
	return bpf_skb_pull_data(skb, 64);
}

__noinline int global_pull(struct __sk_buff *skb)
{
	return pull(skb) + 1;
}

__noinline int global_plain(struct __sk_buff *skb)
{
	return skb->len + 1;
}

__noinline int global_tail(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &jumps, 1);
	return 4;
}

static __noinline int tail(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &jumps, 2);
	return hidden(3);
}

static __noinline int loaded(struct __sk_buff *skb)
{
	load_byte(skb, 14);
	return hidden(5);
}

#define AFTER(name, call)                                                                                      \
	SEC("tc") int name(struct __sk_buff *skb)                                                              \
	{                                                                                                      \
		__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;                      \
		int n;                                                                                         \
                                                                                                               \
		if (data + 32 > end)                                                                           \
			return 0;                                                                              \
		n = call;                                                                                      \
		return n + data[7];                                                                            \
	}

AFTER(after_global_pull, global_pull(skb))
AFTER(after_static_pull, pull(skb))
AFTER(after_global_plain, global_plain(skb))
AFTER(after_global_tail, global_tail(skb))
AFTER(after_static_tail, tail(skb))
AFTER(after_load, loaded(skb))

#define INDEXED(name, section, call)                                                                           \
	SEC(section) int name(struct __sk_buff *skb)                                                           \
	{                                                                                                      \
		char room[8] = {};                                                                             \
		volatile char *p = room;                                                                       \
                                                                                                               \
		return p[call];                                                                                \
	}

INDEXED(index_static_tail, "tc", tail(skb))
INDEXED(index_load, "tc", loaded(skb))
INDEXED(index_load_socket, "socket", loaded(skb))
INDEXED(index_pull, "tc", pull(skb) & 7)
