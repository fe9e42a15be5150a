"""bpf_fib_lookup: where a packet would be forwarded to (net/core/filter.c).

The modelled kernel has the loopback device only, which forwards nothing, so no lookup gets as far as a table.

    struct bpf_fib_lookup  +0 family (u8)  ...  +8 ifindex (u32)  ...                              64 bytes
"""

import errno
import socket

from engine.abi.bpf import FuncId, ProgType
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import native, u8, u32, ult
from engine.netdevs import LOOPBACK_IFINDEX

__all__ = ["fib_lookup"]

_PARAMS_SIZE = 64
_IFINDEX = 8
_FLAGS = 0x3F
"""BPF_FIB_LOOKUP_DIRECT to BPF_FIB_LOOKUP_MARK."""
_U32_MAX = 0xFFFF_FFFF
_FORWARDS_NOTHING = 5
"""BPF_FIB_LKUP_RET_FWD_DISABLED."""
_AF_INET, _AF_INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_EINVAL, _ENODEV, _EAFNOSUPPORT = -errno.EINVAL, -errno.ENODEV, -errno.EAFNOSUPPORT
_DEVICE = LOOPBACK_IFINDEX


@helper(
    Proto(
        FuncId.fib_lookup,
        "bpf_fib_lookup",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX, Arg.WRITTEN_MEM, Arg.CONST_SIZE, Arg.ANYTHING),
        gpl_only=True,
        progs=frozenset({ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.XDP}),
    )
)
@native
def fib_lookup(env: int, ctx: int, params: int, size: int, flags: int) -> int:
    """-EINVAL (size, flags), -EAFNOSUPPORT, -ENODEV, or that the device does not forward."""
    if ult(size, _PARAMS_SIZE) or flags & _U32_MAX & ~_FLAGS:
        return _EINVAL
    family = u8(params)
    if family != _AF_INET and family != _AF_INET6:
        return _EAFNOSUPPORT
    return _FORWARDS_NOTHING if u32(params + _IFINDEX) == _DEVICE else _ENODEV
