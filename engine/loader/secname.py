"""SEC() names: which program type a section asks for, and where it wants to be attached.

The table is libbpf's (`section_defs`, tools/lib/bpf/libbpf.c); a row whose name ends in `+` takes a target
after a slash. As Aya and older libbpf do, a target is let pass after the other names too.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.abi.bpf import AttachType, ProgType

__all__ = ["SecDef", "SecName", "parse_secname"]

SLEEPABLE = "sleepable"
FRAGS = "frags"


@dataclass(frozen=True, slots=True)
class SecDef:
    """One row: program type, expected attach type and load flags of sections called `name`.

    `btf` is the prefix of the kernel's BTF name of the target (fentry, tp_btf, lsm, iter), None if the
    program is not loaded against a target.
    """

    name: str
    type: ProgType
    attach: AttachType | None = None
    sleepable: bool = False
    frags: bool = False
    btf: str | None = None


@dataclass(frozen=True, slots=True)
class SecName:
    """A section's name, understood. `definition` is None for a name that nobody knows."""

    section: str
    definition: SecDef | None
    target: str = ""
    autoload: bool = True

    @property
    def type(self) -> ProgType:
        """Program type; UNSPEC for an unknown name."""
        return self.definition.type if self.definition is not None else ProgType.UNSPEC

    @property
    def kind(self) -> str:
        """The table's name for it, as `kprobe`; empty for an unknown name."""
        return self.definition.name if self.definition is not None else ""


_P, _A = ProgType, AttachType


def _rows() -> Iterator[SecDef]:
    yield SecDef("socket", _P.SOCKET_FILTER)
    yield SecDef("sk_reuseport/migrate", _P.SK_REUSEPORT, _A.SK_REUSEPORT_SELECT_OR_MIGRATE)
    yield SecDef("sk_reuseport", _P.SK_REUSEPORT, _A.SK_REUSEPORT_SELECT)
    for name in ("kprobe", "uprobe", "kretprobe", "uretprobe", "ksyscall", "kretsyscall", "usdt"):
        yield SecDef(name, _P.KPROBE)
    for name in ("uprobe.s", "uretprobe.s", "usdt.s"):
        yield SecDef(name, _P.KPROBE, sleepable=True)
    for name in ("kprobe.multi", "kretprobe.multi"):
        yield SecDef(name, _P.KPROBE, _A.TRACE_KPROBE_MULTI)
    yield SecDef("kprobe.session", _P.KPROBE, _A.TRACE_KPROBE_SESSION)
    for name, attach in (
        ("uprobe.multi", _A.TRACE_UPROBE_MULTI),
        ("uretprobe.multi", _A.TRACE_UPROBE_MULTI),
        ("uprobe.session", _A.TRACE_UPROBE_SESSION),
    ):
        yield SecDef(name, _P.KPROBE, attach)
        yield SecDef(name + ".s", _P.KPROBE, attach, sleepable=True)
    for name in ("tc", "tcx"):
        yield SecDef(name + "/ingress", _P.SCHED_CLS, _A.TCX_INGRESS)
        yield SecDef(name + "/egress", _P.SCHED_CLS, _A.TCX_EGRESS)
    for name in ("tc", "classifier"):
        yield SecDef(name, _P.SCHED_CLS)
    yield SecDef("netkit/primary", _P.SCHED_CLS, _A.NETKIT_PRIMARY)
    yield SecDef("netkit/peer", _P.SCHED_CLS, _A.NETKIT_PEER)
    yield SecDef("action", _P.SCHED_ACT)
    for name in ("tracepoint", "tp"):
        yield SecDef(name, _P.TRACEPOINT)
    for name in ("raw_tracepoint", "raw_tp"):
        yield SecDef(name, _P.RAW_TRACEPOINT)
        yield SecDef(name + ".w", _P.RAW_TRACEPOINT_WRITABLE)
    yield SecDef("tp_btf", _P.TRACING, _A.TRACE_RAW_TP, btf="btf_trace_")
    for name, attach in (
        ("fentry", _A.TRACE_FENTRY),
        ("fmod_ret", _A.MODIFY_RETURN),
        ("fexit", _A.TRACE_FEXIT),
        ("fsession", _A.TRACE_FSESSION),
    ):
        yield SecDef(name, _P.TRACING, attach, btf="")
        yield SecDef(name + ".s", _P.TRACING, attach, sleepable=True, btf="")
    yield SecDef("freplace", _P.EXT)
    yield SecDef("lsm", _P.LSM, _A.LSM_MAC, btf="bpf_lsm_")
    yield SecDef("lsm.s", _P.LSM, _A.LSM_MAC, sleepable=True, btf="bpf_lsm_")
    yield SecDef("lsm_cgroup", _P.LSM, _A.LSM_CGROUP, btf="bpf_lsm_")
    yield SecDef("iter", _P.TRACING, _A.TRACE_ITER, btf="bpf_iter_")
    yield SecDef("iter.s", _P.TRACING, _A.TRACE_ITER, sleepable=True, btf="bpf_iter_")
    yield SecDef("syscall", _P.SYSCALL, sleepable=True)
    for name, attach in (("/devmap", _A.XDP_DEVMAP), ("/cpumap", _A.XDP_CPUMAP), ("", _A.XDP)):
        yield SecDef("xdp.frags" + name, _P.XDP, attach, frags=True)
        yield SecDef("xdp" + name, _P.XDP, attach)
    yield SecDef("perf_event", _P.PERF_EVENT)
    yield SecDef("lwt_in", _P.LWT_IN)
    yield SecDef("lwt_out", _P.LWT_OUT)
    yield SecDef("lwt_xmit", _P.LWT_XMIT)
    yield SecDef("lwt_seg6local", _P.LWT_SEG6LOCAL)
    yield from _cgroup_rows()
    yield SecDef("sockops", _P.SOCK_OPS, _A.CGROUP_SOCK_OPS)
    yield SecDef("sk_skb/stream_parser", _P.SK_SKB, _A.SK_SKB_STREAM_PARSER)
    yield SecDef("sk_skb/stream_verdict", _P.SK_SKB, _A.SK_SKB_STREAM_VERDICT)
    yield SecDef("sk_skb/verdict", _P.SK_SKB, _A.SK_SKB_VERDICT)
    yield SecDef("sk_skb", _P.SK_SKB)
    yield SecDef("sk_msg", _P.SK_MSG, _A.SK_MSG_VERDICT)
    yield SecDef("lirc_mode2", _P.LIRC_MODE2, _A.LIRC_MODE2)
    yield SecDef("flow_dissector", _P.FLOW_DISSECTOR, _A.FLOW_DISSECTOR)
    yield SecDef("struct_ops", _P.STRUCT_OPS)
    yield SecDef("struct_ops.s", _P.STRUCT_OPS, sleepable=True)
    yield SecDef("sk_lookup", _P.SK_LOOKUP, _A.SK_LOOKUP)
    yield SecDef("netfilter", _P.NETFILTER, _A.NETFILTER)


def _cgroup_rows() -> Iterator[SecDef]:
    yield SecDef("cgroup_skb/ingress", _P.CGROUP_SKB, _A.CGROUP_INET_INGRESS)
    yield SecDef("cgroup_skb/egress", _P.CGROUP_SKB, _A.CGROUP_INET_EGRESS)
    yield SecDef("cgroup/skb", _P.CGROUP_SKB)
    yield SecDef("cgroup/sock_create", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_CREATE)
    yield SecDef("cgroup/sock_release", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_RELEASE)
    yield SecDef("cgroup/sock", _P.CGROUP_SOCK, _A.CGROUP_INET_SOCK_CREATE)
    yield SecDef("cgroup/post_bind4", _P.CGROUP_SOCK, _A.CGROUP_INET4_POST_BIND)
    yield SecDef("cgroup/post_bind6", _P.CGROUP_SOCK, _A.CGROUP_INET6_POST_BIND)
    addresses = {
        "bind4": _A.CGROUP_INET4_BIND,
        "bind6": _A.CGROUP_INET6_BIND,
        "connect4": _A.CGROUP_INET4_CONNECT,
        "connect6": _A.CGROUP_INET6_CONNECT,
        "connect_unix": _A.CGROUP_UNIX_CONNECT,
        "sendmsg4": _A.CGROUP_UDP4_SENDMSG,
        "sendmsg6": _A.CGROUP_UDP6_SENDMSG,
        "sendmsg_unix": _A.CGROUP_UNIX_SENDMSG,
        "recvmsg4": _A.CGROUP_UDP4_RECVMSG,
        "recvmsg6": _A.CGROUP_UDP6_RECVMSG,
        "recvmsg_unix": _A.CGROUP_UNIX_RECVMSG,
        "getpeername4": _A.CGROUP_INET4_GETPEERNAME,
        "getpeername6": _A.CGROUP_INET6_GETPEERNAME,
        "getpeername_unix": _A.CGROUP_UNIX_GETPEERNAME,
        "getsockname4": _A.CGROUP_INET4_GETSOCKNAME,
        "getsockname6": _A.CGROUP_INET6_GETSOCKNAME,
        "getsockname_unix": _A.CGROUP_UNIX_GETSOCKNAME,
    }
    for name, attach in addresses.items():
        yield SecDef("cgroup/" + name, _P.CGROUP_SOCK_ADDR, attach)
    yield SecDef("cgroup/sysctl", _P.CGROUP_SYSCTL, _A.CGROUP_SYSCTL)
    yield SecDef("cgroup/getsockopt", _P.CGROUP_SOCKOPT, _A.CGROUP_GETSOCKOPT)
    yield SecDef("cgroup/setsockopt", _P.CGROUP_SOCKOPT, _A.CGROUP_SETSOCKOPT)
    yield SecDef("cgroup/dev", _P.CGROUP_DEVICE, _A.CGROUP_DEVICE)


_TABLE = {row.name: row for row in _rows()}


def parse_secname(section: str) -> SecName:
    """Understand the section name `section`; a leading `?` means that it is not loaded by itself."""
    autoload = not section.startswith("?")
    name = section.removeprefix("?")
    end = len(name)
    while end > 0:
        row = _TABLE.get(name[:end])
        if row is not None:
            return SecName(section, row, name[end + 1 :], autoload)
        end = name.rfind("/", 0, end)
    return SecName(section, None, "", autoload)
