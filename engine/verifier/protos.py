"""The prototype of a helper by number, for programs of a type: from the registry of `engine.helpers`."""

from engine.abi.bpf import FuncId, ProgType
from engine.helpers.proto import Arg, Proto, Ret

__all__ = ["find_proto"]

A = Arg
_T = frozenset(
    {ProgType.KPROBE, ProgType.TRACEPOINT, ProgType.RAW_TRACEPOINT, ProgType.PERF_EVENT, ProgType.TRACING}
)


def _p(
    id: FuncId, ret: Ret, *args: Arg, gpl: bool = False, progs: frozenset[ProgType] | None = None
) -> tuple[int, Proto]:
    return int(id), Proto(id, f"bpf_{id.name}", ret, args, gpl, progs)


_PROTOS: dict[int, Proto] = dict(
    [
        _p(FuncId.map_lookup_elem, Ret.PTR_TO_MAP_VALUE_OR_NULL, A.CONST_MAP_PTR, A.PTR_TO_MAP_KEY),
        _p(
            FuncId.map_update_elem,
            Ret.INTEGER,
            A.CONST_MAP_PTR,
            A.PTR_TO_MAP_KEY,
            A.PTR_TO_MAP_VALUE,
            A.ANYTHING,
        ),
        _p(FuncId.map_delete_elem, Ret.INTEGER, A.CONST_MAP_PTR, A.PTR_TO_MAP_KEY),
        _p(FuncId.map_push_elem, Ret.INTEGER, A.CONST_MAP_PTR, A.PTR_TO_MAP_VALUE, A.ANYTHING),
        _p(FuncId.map_pop_elem, Ret.INTEGER, A.CONST_MAP_PTR, A.UNINIT_MAP_VALUE),
        _p(FuncId.map_peek_elem, Ret.INTEGER, A.CONST_MAP_PTR, A.UNINIT_MAP_VALUE),
        _p(
            FuncId.map_lookup_percpu_elem,
            Ret.PTR_TO_MAP_VALUE_OR_NULL,
            A.CONST_MAP_PTR,
            A.PTR_TO_MAP_KEY,
            A.ANYTHING,
        ),
        _p(
            FuncId.probe_read, Ret.INTEGER, A.UNINIT_MEM, A.CONST_SIZE_OR_ZERO, A.ANYTHING, gpl=True, progs=_T
        ),
        _p(
            FuncId.probe_read_user,
            Ret.INTEGER,
            A.UNINIT_MEM,
            A.CONST_SIZE_OR_ZERO,
            A.ANYTHING,
            gpl=True,
            progs=_T,
        ),
        _p(
            FuncId.probe_read_kernel,
            Ret.INTEGER,
            A.UNINIT_MEM,
            A.CONST_SIZE_OR_ZERO,
            A.ANYTHING,
            gpl=True,
        ),
        _p(
            FuncId.probe_read_str,
            Ret.INTEGER,
            A.UNINIT_MEM,
            A.CONST_SIZE_OR_ZERO,
            A.ANYTHING,
            gpl=True,
            progs=_T,
        ),
        _p(
            FuncId.probe_read_user_str,
            Ret.INTEGER,
            A.UNINIT_MEM,
            A.CONST_SIZE_OR_ZERO,
            A.ANYTHING,
            gpl=True,
            progs=_T,
        ),
        _p(
            FuncId.probe_read_kernel_str,
            Ret.INTEGER,
            A.UNINIT_MEM,
            A.CONST_SIZE_OR_ZERO,
            A.ANYTHING,
            gpl=True,
        ),
        _p(FuncId.ktime_get_ns, Ret.INTEGER),
        _p(FuncId.ktime_get_boot_ns, Ret.INTEGER),
        _p(FuncId.ktime_get_coarse_ns, Ret.INTEGER),
        _p(FuncId.ktime_get_tai_ns, Ret.INTEGER),
        _p(FuncId.jiffies64, Ret.INTEGER),
        _p(FuncId.trace_printk, Ret.INTEGER, A.PTR_TO_MEM, A.CONST_SIZE, gpl=True),
        _p(
            FuncId.trace_vprintk,
            Ret.INTEGER,
            A.PTR_TO_MEM,
            A.CONST_SIZE,
            A.PTR_TO_MEM_OR_NULL,
            A.CONST_SIZE_OR_ZERO,
            gpl=True,
        ),
        _p(FuncId.get_prandom_u32, Ret.INTEGER),
        _p(FuncId.get_smp_processor_id, Ret.INTEGER),
        _p(FuncId.get_numa_node_id, Ret.INTEGER),
        _p(FuncId.tail_call, Ret.VOID, A.PTR_TO_CTX, A.CONST_MAP_PTR, A.ANYTHING),
        _p(FuncId.get_current_pid_tgid, Ret.INTEGER),
        _p(FuncId.get_current_uid_gid, Ret.INTEGER),
        _p(FuncId.get_current_comm, Ret.INTEGER, A.UNINIT_MEM, A.CONST_SIZE),
        _p(FuncId.get_current_task, Ret.INTEGER, gpl=True),
        _p(FuncId.get_current_cgroup_id, Ret.INTEGER),
        _p(
            FuncId.perf_event_output,
            Ret.INTEGER,
            A.PTR_TO_CTX,
            A.CONST_MAP_PTR,
            A.ANYTHING,
            A.PTR_TO_MEM,
            A.CONST_SIZE_OR_ZERO,
            gpl=True,
        ),
        _p(FuncId.get_stackid, Ret.INTEGER, A.PTR_TO_CTX, A.CONST_MAP_PTR, A.ANYTHING, gpl=True, progs=_T),
        _p(
            FuncId.get_stack,
            Ret.INTEGER,
            A.PTR_TO_CTX,
            A.UNINIT_MEM,
            A.CONST_SIZE_OR_ZERO,
            A.ANYTHING,
            gpl=True,
            progs=_T,
        ),
        _p(
            FuncId.ringbuf_output,
            Ret.INTEGER,
            A.CONST_MAP_PTR,
            A.PTR_TO_MEM,
            A.CONST_SIZE_OR_ZERO,
            A.ANYTHING,
        ),
        _p(
            FuncId.ringbuf_reserve,
            Ret.PTR_TO_ALLOC_MEM_OR_NULL,
            A.CONST_MAP_PTR,
            A.CONST_ALLOC_SIZE_OR_ZERO,
            A.ANYTHING,
        ),
        _p(FuncId.ringbuf_submit, Ret.VOID, A.ALLOC_MEM_RELEASE, A.ANYTHING),
        _p(FuncId.ringbuf_discard, Ret.VOID, A.ALLOC_MEM_RELEASE, A.ANYTHING),
        _p(FuncId.ringbuf_query, Ret.INTEGER, A.CONST_MAP_PTR, A.ANYTHING),
        _p(
            FuncId.for_each_map_elem,
            Ret.INTEGER,
            A.CONST_MAP_PTR,
            A.PTR_TO_FUNC,
            A.PTR_TO_STACK_OR_NULL,
            A.ANYTHING,
        ),
        _p(FuncId.loop, Ret.INTEGER, A.ANYTHING, A.PTR_TO_FUNC, A.PTR_TO_STACK_OR_NULL, A.ANYTHING),
        _p(FuncId.strncmp, Ret.INTEGER, A.PTR_TO_MEM, A.CONST_SIZE, A.PTR_TO_CONST_STR),
        _p(FuncId.get_func_ip, Ret.INTEGER, A.PTR_TO_CTX, gpl=True),
        _p(FuncId.get_attach_cookie, Ret.INTEGER, A.PTR_TO_CTX),
        _p(FuncId.spin_lock, Ret.VOID, A.PTR_TO_SPIN_LOCK),
        _p(FuncId.spin_unlock, Ret.VOID, A.PTR_TO_SPIN_LOCK),
        _p(
            FuncId.snprintf,
            Ret.INTEGER,
            A.UNINIT_MEM,
            A.CONST_SIZE_OR_ZERO,
            A.PTR_TO_CONST_STR,
            A.PTR_TO_MEM_OR_NULL,
            A.CONST_SIZE_OR_ZERO,
        ),
        _p(FuncId.skb_load_bytes, Ret.INTEGER, A.PTR_TO_CTX, A.ANYTHING, A.UNINIT_MEM, A.CONST_SIZE),
    ]
)


def find_proto(number: int) -> Proto | None:
    """Prototype of helper `number`; None when there is no such helper."""
    return _PROTOS.get(number)
