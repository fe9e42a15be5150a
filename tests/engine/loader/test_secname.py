"""SEC() names."""

import pytest

from engine.abi.bpf import AttachType, ProgType
from engine.loader import parse_secname

P, A = ProgType, AttachType


@pytest.mark.parametrize(
    ("section", "kind", "prog_type", "attach", "target"),
    [
        ("kprobe/do_sys_openat2", "kprobe", P.KPROBE, None, "do_sys_openat2"),
        ("kprobe", "kprobe", P.KPROBE, None, ""),
        ("kprobe/vfs_read+0x4", "kprobe", P.KPROBE, None, "vfs_read+0x4"),
        (
            "kprobe/dragonos_kernel::syscall::Syscall::handle",
            "kprobe",
            P.KPROBE,
            None,
            "dragonos_kernel::syscall::Syscall::handle",
        ),
        ("kretprobe/vfs_read", "kretprobe", P.KPROBE, None, "vfs_read"),
        ("ksyscall/read", "ksyscall", P.KPROBE, None, "read"),
        ("uprobe//bin/bash:readline", "uprobe", P.KPROBE, None, "/bin/bash:readline"),
        ("kprobe.multi/vfs_*", "kprobe.multi", P.KPROBE, A.TRACE_KPROBE_MULTI, "vfs_*"),
        ("tracepoint/syscalls/sys_enter_read", "tracepoint", P.TRACEPOINT, None, "syscalls/sys_enter_read"),
        ("tp/sched/sched_switch", "tp", P.TRACEPOINT, None, "sched/sched_switch"),
        ("raw_tp/sys_enter", "raw_tp", P.RAW_TRACEPOINT, None, "sys_enter"),
        ("raw_tp.w/x", "raw_tp.w", P.RAW_TRACEPOINT_WRITABLE, None, "x"),
        ("tp_btf/sched_switch", "tp_btf", P.TRACING, A.TRACE_RAW_TP, "sched_switch"),
        ("fentry/vfs_read", "fentry", P.TRACING, A.TRACE_FENTRY, "vfs_read"),
        ("fexit.s/vfs_read", "fexit.s", P.TRACING, A.TRACE_FEXIT, "vfs_read"),
        ("fmod_ret/x", "fmod_ret", P.TRACING, A.MODIFY_RETURN, "x"),
        ("lsm/file_open", "lsm", P.LSM, A.LSM_MAC, "file_open"),
        ("iter/bpf_map", "iter", P.TRACING, A.TRACE_ITER, "bpf_map"),
        ("socket", "socket", P.SOCKET_FILTER, None, ""),
        ("socket/filter", "socket", P.SOCKET_FILTER, None, "filter"),
        ("xdp", "xdp", P.XDP, A.XDP, ""),
        ("xdp.frags/cpumap", "xdp.frags/cpumap", P.XDP, A.XDP_CPUMAP, ""),
        ("xdp/devmap", "xdp/devmap", P.XDP, A.XDP_DEVMAP, ""),
        ("tc", "tc", P.SCHED_CLS, None, ""),
        ("classifier/ingress", "classifier", P.SCHED_CLS, None, "ingress"),
        ("action", "action", P.SCHED_ACT, None, ""),
        ("cgroup_skb/egress", "cgroup_skb/egress", P.CGROUP_SKB, A.CGROUP_INET_EGRESS, ""),
        ("cgroup/connect4", "cgroup/connect4", P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_CONNECT, ""),
        ("perf_event", "perf_event", P.PERF_EVENT, None, ""),
        ("syscall", "syscall", P.SYSCALL, None, ""),
        ("sk_lookup", "sk_lookup", P.SK_LOOKUP, A.SK_LOOKUP, ""),
        ("freplace/x", "freplace", P.EXT, None, "x"),
        ("kprobe.session/vfs_*", "kprobe.session", P.KPROBE, A.TRACE_KPROBE_SESSION, "vfs_*"),
        ("uprobe.multi.s//bin/sh:a*", "uprobe.multi.s", P.KPROBE, A.TRACE_UPROBE_MULTI, "/bin/sh:a*"),
        ("uprobe.session/a:b", "uprobe.session", P.KPROBE, A.TRACE_UPROBE_SESSION, "a:b"),
        ("tc/ingress", "tc/ingress", P.SCHED_CLS, A.TCX_INGRESS, ""),
        ("tcx/egress", "tcx/egress", P.SCHED_CLS, A.TCX_EGRESS, ""),
        ("netkit/peer", "netkit/peer", P.SCHED_CLS, A.NETKIT_PEER, ""),
        ("sk_skb/verdict", "sk_skb/verdict", P.SK_SKB, A.SK_SKB_VERDICT, ""),
        ("cgroup/sendmsg_unix", "cgroup/sendmsg_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_SENDMSG, ""),
        ("fsession/vfs_read", "fsession", P.TRACING, A.TRACE_FSESSION, "vfs_read"),
        ("struct_ops.s/a", "struct_ops.s", P.STRUCT_OPS, None, "a"),
        ("netfilter", "netfilter", P.NETFILTER, A.NETFILTER, ""),
    ],
)
def test_known(section: str, kind: str, prog_type: ProgType, attach: AttachType | None, target: str) -> None:
    name = parse_secname(section)
    assert name.definition is not None
    assert (name.kind, name.type, name.definition.attach, name.target) == (kind, prog_type, attach, target)
    assert name.autoload


@pytest.mark.parametrize("section", ["", ".text", "kprobes/x", "cgroup/nonsense", "/kprobe", "what/ever"])
def test_unknown(section: str) -> None:
    name = parse_secname(section)
    assert (name.definition, name.type, name.kind, name.section) == (None, P.UNSPEC, "", section)


def test_question_mark() -> None:
    name = parse_secname("?fentry.s/vfs_read")
    assert not name.autoload
    assert (name.kind, name.target, name.section) == ("fentry.s", "vfs_read", "?fentry.s/vfs_read")
    assert name.definition is not None
    assert name.definition.sleepable
