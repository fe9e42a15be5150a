"""Helpers about the machine, random numbers, spin locks and the run of a program itself."""

from engine.abi.bpf import FuncId
from engine.env import Env
from engine.helpers.progtypes import TRACING
from engine.helpers.proto import Arg, Proto, Ret
from engine.helpers.registry import helper
from engine.jit.lang import c_call, local, native, put64, u32, u64
from engine.spin import spin_lock as lock_word
from engine.spin import spin_unlock as unlock_word

__all__ = [
    "get_attach_cookie",
    "get_func_ip",
    "get_numa_node_id",
    "get_prandom_u32",
    "get_smp_processor_id",
    "spin_lock",
    "spin_unlock",
]

_MULTIPLIER = 0x2545_F491_4F6C_DD1D


@native
def _seed(env: int) -> int:
    """A first state for the environment's random numbers; never 0."""
    seed = local(16)
    put64(seed, env)
    c_call("getrandom", seed, 8, 1)
    return u64(seed) | 1


@helper(Proto(FuncId.get_prandom_u32, "bpf_get_prandom_u32", Ret.INTEGER))
@native(inline=True)
def get_prandom_u32(env: int) -> int:
    """A pseudo-random u32 (xorshift64*), from the environment's own state."""
    state = u64(env + Env.PRANDOM)
    if state == 0:
        state = _seed(env)
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    put64(env + Env.PRANDOM, state)
    return (state * _MULTIPLIER) >> 32


@helper(Proto(FuncId.get_smp_processor_id, "bpf_get_smp_processor_id", Ret.INTEGER))
@native(inline=True)
def get_smp_processor_id(env: int) -> int:
    """The CPU that the hit is accounted to."""
    return u32(env + Env.CPU)


@helper(Proto(FuncId.get_numa_node_id, "bpf_get_numa_node_id", Ret.INTEGER))
@native(inline=True)
def get_numa_node_id(env: int) -> int:
    """The modelled machine has one node: 0."""
    return 0


@helper(Proto(FuncId.spin_lock, "bpf_spin_lock", Ret.VOID, (Arg.PTR_TO_SPIN_LOCK,)))
@native(inline=True)
def spin_lock(env: int, lock: int) -> int:
    """Take the lock inside a map value."""
    return lock_word(lock)


@helper(Proto(FuncId.spin_unlock, "bpf_spin_unlock", Ret.VOID, (Arg.PTR_TO_SPIN_LOCK,)))
@native(inline=True)
def spin_unlock(env: int, lock: int) -> int:
    """Release the lock inside a map value."""
    return unlock_word(lock)


@helper(
    Proto(
        FuncId.get_func_ip,
        "bpf_get_func_ip",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX,),
        gpl_only=True,
        progs=TRACING,
    )
)
@native(inline=True)
def get_func_ip(env: int, ctx: int) -> int:
    """Address of the probed function."""
    return u64(env + Env.FUNC)


@helper(
    Proto(
        FuncId.get_attach_cookie,
        "bpf_get_attach_cookie",
        Ret.INTEGER,
        (Arg.PTR_TO_CTX,),
        progs=TRACING,
    )
)
@native(inline=True)
def get_attach_cookie(env: int, ctx: int) -> int:
    """The cookie that the program was attached with."""
    return u64(env + Env.COOKIE)
