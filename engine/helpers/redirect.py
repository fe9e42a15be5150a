"""Helpers that send a packet somewhere else (net/core/filter.c, `__bpf_xdp_redirect_map`).

They only say where to: the packet goes when the program returns what they answer. The modelled kernel sends
none (a test run gives the answer back), so the answer is all that they do.
"""

from engine.abi.bpf import FuncId, MapType, ProgType
from engine.env import Env
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import call, local, native, put32, u32, u64
from engine.maps.header import MapHdr
from engine.proghdr import ProgHdr

__all__ = ["redirect", "redirect_map"]

_XDP_TYPE = int(ProgType.XDP)
_XDP_ABORTED, _XDP_REDIRECT = 0, 4
_TC_ACT_SHOT, _TC_ACT_REDIRECT = 2, 7
_INGRESS = 1 << 0
"""BPF_F_INGRESS: into the device, not out of it."""
_ACTIONS = 3
"""Flags that are the answer where the map has nothing: XDP_ABORTED to XDP_TX."""
_BROADCAST = 1 << 3
"""BPF_F_BROADCAST: to all devices of the map, for maps of devices only."""
_TO_ALL = _BROADCAST | 1 << 4
"""The same and BPF_F_EXCLUDE_INGRESS: not to where the packet came from."""
_DEVMAP, _DEVMAP_HASH = int(MapType.DEVMAP), int(MapType.DEVMAP_HASH)


@helper(
    Proto(
        FuncId.redirect,
        "bpf_redirect",
        Ret.INTEGER,
        (Arg.ANYTHING, Arg.ANYTHING),
        progs=frozenset({ProgType.SCHED_CLS, ProgType.SCHED_ACT, ProgType.LWT_XMIT, ProgType.XDP}),
    )
)
@native
def redirect(env: int, ifindex: int, flags: int) -> int:
    """To a device, which is looked for later. XDP_ABORTED or TC_ACT_SHOT for bad flags."""
    if u32(u64(env + Env.PROG) + ProgHdr.TYPE) == _XDP_TYPE:
        return _XDP_ABORTED if flags != 0 else _XDP_REDIRECT
    return _TC_ACT_SHOT if flags & ~_INGRESS else _TC_ACT_REDIRECT


@native(inline=True)
def _known_flags(map_type: int) -> int:
    """Flags that bpf_redirect_map takes for a map of that type."""
    if map_type == _DEVMAP:
        return _TO_ALL | _ACTIONS
    return _TO_ALL | _ACTIONS if map_type == _DEVMAP_HASH else _ACTIONS


@helper(
    Proto(
        FuncId.redirect_map,
        "bpf_redirect_map",
        Ret.INTEGER,
        (Arg.CONST_MAP_PTR, Arg.ANYTHING, Arg.ANYTHING),
        progs=frozenset({ProgType.XDP}),
    )
)
@native
def redirect_map(env: int, map: int, index: int, flags: int) -> int:
    """To what a map has at an index. XDP_ABORTED for bad flags; their low bits where there is nothing."""
    if flags & ~_known_flags(u32(map + MapHdr.TYPE)):
        return _XDP_ABORTED
    key = local(8)
    put32(key, index)
    if call(u64(map + MapHdr.LOOKUP), env, map, key) == 0 and not flags & _BROADCAST:
        return flags & _ACTIONS
    return _XDP_REDIRECT
