// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Prints the name of every file that is opened to trace_pipe, and counts them. */
#include "kprobe.h"

#define NAME_MAX 256

/* Only this process, or every process if 0. */
const volatile __u32 only_pid = 0;
__u64 opens;

SEC("kprobe/do_sys_openat2")
int BPF_KPROBE(opensnoop, int dfd, const char *filename)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	char name[NAME_MAX];

	if (only_pid && only_pid != pid)
		return 0;
	__sync_fetch_and_add(&opens, 1);
	if (bpf_probe_read_user_str(name, sizeof(name), filename) < 0)
		return 0;
	bpf_printk("open %s", name);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
