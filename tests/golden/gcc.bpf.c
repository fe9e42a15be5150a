/* Compiled by GCC 12 and binutils 2.40 of Debian 12 (gcc-bpf): bpf-gcc -O2 -gbtf -c gcc.bpf.c -o gcc.bpf.o */
#define SEC(name) __attribute__((section(name), used))
#define __uint(name, val) int (*name)[val]
#define __type(name, val) typeof(val) *name

void *bpf_map_lookup_elem(void *map, const void *key) __attribute__((kernel_helper(1)));

struct {
	__uint(type, 2);
	__uint(max_entries, 1);
	__type(key, unsigned int);
	__type(value, unsigned long long);
} runs SEC(".maps");

static int table[4] = { 1, 2, 3, 4 };
int before = 100, other = 9;
static int kept = 3;

static __attribute__((noinline)) int sub0(int x)
{
	return x * 3 + table[x & 3];
}

static __attribute__((noinline)) int sub1(int x)
{
	return x * 5 + kept + sub0(x);
}

__attribute__((noinline)) int sub2(int x)
{
	kept++;
	return x * 7;
}

/* 22 + 7 + 25 + 9 + 3 */
SEC("socket") int prog(void *ctx)
{
	unsigned int zero = 0;
	unsigned long long *count = bpf_map_lookup_elem(&runs, &zero);

	if (count)
		*count += 1;
	return sub1(2) + sub2(1) + sub0(7) + other + table[2];
}

char LICENSE[] SEC("license") = "GPL";
