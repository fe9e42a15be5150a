/* Global functions by the types of their arguments and results, and what may be handed to them. */
#include "common.h"

#define TAG(name) __attribute__((btf_decl_tag("arg:" name)))

MAP(values, BPF_MAP_TYPE_ARRAY, __u32, struct pair, 4);
enum colour { RED, GREEN = 1 << 20 };
struct big {
	struct pair pairs[4];
	char tail[8];
};

__noinline int of_enum(enum colour c)
{
	return c == GREEN;
}

__noinline enum colour gives_enum(int x)
{
	return x > 3 ? RED : GREEN;
}

__noinline int of_text(const char *text)
{
	return text ? text[0] : 0;
}

__noinline int of_array(int (*words)[4])
{
	return words ? (*words)[3] : 1;
}

__noinline int of_big(struct big *b, int i)
{
	if (!b)
		return 0;
	b->tail[i & 7] = 3;
	return b->pairs[i & 3].b;
}

__noinline int of_pointer(int **p)
{
	return p ? 3 : 2;
}

__noinline long of_many(int a, unsigned long b, char c, short d, _Bool e)
{
	return a + b + c + d + e;
}

__noinline int nonnull(struct pair *p TAG("nonnull"))
{
	return p->b;
}

__noinline int tagged_context(void *ctx TAG("ctx"))
{
	__u64 addresses[4];

	return bpf_get_stack(ctx, addresses, sizeof(addresses), 0);
}

SEC("kprobe") int scalars(void *ctx)
{
	return of_enum(bpf_get_prandom_u32()) + gives_enum(3) + of_many(1, bpf_ktime_get_ns(), 3, 4, 1);
}

SEC("kprobe") int memory(void *ctx)
{
	int words[4] = {1, 2, 3, 4};
	struct big b = {};
	char text[1] = {};

	return of_array(&words) + of_big(&b, words[1]) + of_text(text) + of_big(0, 3);
}

SEC("kprobe") int reject_short(void *ctx)
{
	struct pair p = {};

	return of_big((struct big *)&p, 1);
}

SEC("kprobe") int value_of_map(void *ctx)
{
	__u32 key = 1;
	struct pair *p = bpf_map_lookup_elem(&values, &key);

	return of_text((char *)p) + (p ? nonnull(p) : 0);
}

SEC("kprobe") int pointers(void *ctx)
{
	int *p = 0;

	return of_pointer(&p);
}

SEC("kprobe") int context(void *ctx)
{
	return tagged_context(ctx);
}

SEC("tracepoint") int context_of_tracepoint(void *ctx)
{
	return tagged_context(ctx);
}
