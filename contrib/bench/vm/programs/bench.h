/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What benchmark programs need, whether compiled for eBPF or natively: each file defines prog(). */
#ifndef BENCH_H
#define BENCH_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef unsigned long long u64;

#ifdef __bpf__
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define PROGRAM SEC("socket")
/* Without the attribute clang would leave no call for the machine to make. */
#define SUBPROGRAM static __attribute__((noinline))
char LICENSE[] SEC("license") = "Dual BSD/GPL";
#else
#define PROGRAM
/* As free to inline as bpffs is with a subprogram. */
#define SUBPROGRAM static
#endif

#endif
