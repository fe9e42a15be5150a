"""C sources of objects, each for something that compilers emit."""

__all__ = ["SOURCES"]

SOURCES = {
    "map_in_map": """
        struct inner {
            __uint(type, BPF_MAP_TYPE_HASH);
            __uint(max_entries, 4);
            __type(key, __u32);
            __type(value, __u64);
        } in1 SEC(".maps"), in2 SEC(".maps");
        struct {
            __uint(type, 13);
            __uint(max_entries, 8);
            __type(key, __u32);
            __array(values, struct inner);
        } outer SEC(".maps") = { .values = { [1] = &in1, [3] = &in2 } };
        SEC("kprobe/a") int prog(void *ctx) {
            __u32 k = 1;
            return bpf_map_lookup_elem(&outer, &k) != 0;
        }
    """,
    "prog_array": """
        int callee(void *ctx);
        struct {
            __uint(type, 3);
            __uint(max_entries, 8);
            __uint(key_size, 4);
            __array(values, int (void *));
        } progs SEC(".maps") = { .values = { [2] = (void *)&callee } };
        SEC("kprobe/a") int callee(void *ctx) { return 1; }
        SEC("kprobe/b") int caller(void *ctx) { bpf_tail_call(ctx, &progs, 2); return 0; }
    """,
    "data": """
        int g = 5;
        static volatile int st = 7;
        const volatile int ro = 3;
        int zeros[4];
        static volatile const char str[] = "abc";
        int custom SEC(".data.custom") = 9;
        const int constant SEC(".rodata.more") = 8;
        int hid __hidden = 3;
        SEC("kprobe/a") int prog(void *ctx) {
            const volatile int *more = &constant;
            return g + st + ro + zeros[2] + str[ro & 1] + custom + *more + hid;
        }
    """,
    "static_data": """
        static volatile int st = 7;
        SEC("kprobe/a") int prog(void *ctx) { return st; }
    """,
    "externs": """
        extern int LINUX_KERNEL_VERSION __kconfig;
        extern _Bool CONFIG_BPF __kconfig __weak;
        extern char CONFIG_DEFAULT_HOSTNAME[8] __kconfig __weak;
        extern enum libbpf_tristate CONFIG_NO_SUCH __kconfig __weak;
        extern const int no_such_variable __ksym __weak;
        extern const void no_such_symbol __ksym __weak;
        SEC("kprobe/a") int prog(void *ctx) {
            int sum = LINUX_KERNEL_VERSION + CONFIG_BPF + CONFIG_DEFAULT_HOSTNAME[1] + CONFIG_NO_SUCH;
            return sum + (&no_such_variable ? 1 : 0) + (&no_such_symbol ? 2 : 0);
        }
    """,
    "subprogs": """
        static __attribute__((noinline)) int leaf(int x) { return x * 3 + 1; }
        __attribute__((noinline)) int glob(int x) { return leaf(x) + 2; }
        __attribute__((noinline)) int __hidden hid(int x) { return leaf(x) + 5; }
        static int callback(__u32 i, void *ctx) { return leaf(i) == 5; }
        __attribute__((noinline)) int unreached(int x) { return x + 9; }
        SEC("kprobe/a") int first(void *ctx) { return glob(bpf_get_prandom_u32()) + leaf(3); }
        SEC("kprobe/a") int second(void *ctx) { bpf_loop(10, callback, 0, 0); return hid(2); }
    """,
    "core": """
        struct task_struct___flavour {
            int pid;
            char comm[4];
            struct task_struct___flavour *group_leader;
            unsigned int in_execve : 1;
        } __attribute__((preserve_access_index));
        struct nowhere { int field; } __attribute__((preserve_access_index));
        enum pid_type___local { PIDTYPE_TGID___local = 7, PIDTYPE_NOPE = 9 };
        struct list_head { struct list_head *next, *prev; };
        SEC("kprobe/a") int prog(struct pt_regs *ctx) {
            struct task_struct___flavour *task = (void *)bpf_get_current_task();
            struct nowhere *none = (void *)task;
            __u64 sum = BPF_CORE_READ(task, group_leader, pid) + bpf_core_field_offset(task->comm[2]);
            sum += bpf_core_field_size(task->comm) + BPF_CORE_READ_BITFIELD_PROBED(task, in_execve);
            sum += bpf_core_type_exists(struct nowhere) + bpf_core_type_size(struct list_head);
            sum += bpf_core_type_id_kernel(struct list_head) + bpf_core_type_id_local(struct nowhere);
            sum += bpf_core_enum_value(enum pid_type___local, PIDTYPE_TGID___local);
            sum += bpf_core_enum_value_exists(enum pid_type___local, PIDTYPE_NOPE);
            if (bpf_core_field_exists(none->field))
                sum += BPF_CORE_READ(none, field);
            return sum;
        }
    """,
    "socket": """
        struct {
            __uint(type, BPF_MAP_TYPE_ARRAY);
            __uint(max_entries, 1);
            __uint(key_size, 4);
            __uint(value_size, 8);
            __uint(map_flags, 1 << 10);
        } counts SEC(".maps");
        SEC("socket") int prog(void *ctx) {
            __u32 k = 0;
            __u64 *v = bpf_map_lookup_elem(&counts, &k);
            if (v)
                *v += 1;
            return 0;
        }
    """,
}
"""By name; each is compiled after the examples' header and a GPL license."""
