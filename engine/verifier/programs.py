"""What depends on the type of the program as a whole: whether it is supported, may sleep, may use a map."""

from engine.abi.bpf import AttachType, FuncId, MapType, ProgType
from engine.progspec import MapLike
from engine.verifier.context import SUPPORTED
from engine.verifier.env import Env
from engine.verifier.kernelptr import check_attach_target
from engine.verifier.mapinfo import LOCK, special_fields

__all__ = ["TRACING_TYPES", "check_map", "check_program", "check_sleep"]

TRACING_TYPES = frozenset(
    {
        ProgType.KPROBE,
        ProgType.TRACEPOINT,
        ProgType.PERF_EVENT,
        ProgType.RAW_TRACEPOINT,
        ProgType.RAW_TRACEPOINT_WRITABLE,
    }
)
_SLEEPING_ATTACH = (AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT, AttachType.MODIFY_RETURN)
_SLEEPABLE_MAPS = frozenset(
    {
        MapType.HASH,
        MapType.LRU_HASH,
        MapType.ARRAY,
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.ARRAY_OF_MAPS,
        MapType.HASH_OF_MAPS,
        MapType.RINGBUF,
        MapType.USER_RINGBUF,
        MapType.INODE_STORAGE,
        MapType.SK_STORAGE,
        MapType.TASK_STORAGE,
        MapType.QUEUE,
        MapType.STACK,
    }
)
_SLEEPS = frozenset({FuncId.copy_from_user, FuncId.copy_from_user_task, FuncId.sys_bpf})


def check_program(env: Env) -> None:
    """Refuse types that cannot be verified, and sleeping where it is not possible (`check_attach_btf_id`)."""
    spec = env.spec
    if spec.type not in SUPPORTED and spec.type != ProgType.TRACING:
        env.invalid(f"program type {int(spec.type)} is not supported")
    check_attach_target(env)
    if spec.type == ProgType.SYSCALL:
        if not env.sleepable:
            env.invalid("Syscall programs can only be sleepable")
    elif env.sleepable:
        traced = spec.type == ProgType.TRACING and spec.expected_attach_type in _SLEEPING_ATTACH
        if not traced and spec.type != ProgType.KPROBE:
            env.invalid(
                "Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable"
            )


def check_map(env: Env, target: MapLike) -> None:
    """Refuse a map that this type of program may not use (`check_map_prog_compatibility`)."""
    for name, _, _ in special_fields(target):
        if name == LOCK and env.spec.type == ProgType.SOCKET_FILTER:
            env.invalid(f"socket filter progs cannot use {name} yet")
        if env.spec.type in TRACING_TYPES:
            env.invalid(f"tracing progs cannot use {name} yet")
    if env.sleepable and target.type not in _SLEEPABLE_MAPS:
        env.invalid("Sleepable programs can only use array, hash, ringbuf and local storage maps")


def check_sleep(env: Env, number: int) -> None:
    """Refuse a helper that may sleep in a program that may not."""
    if not env.sleepable and number in _SLEEPS:
        env.invalid("helper call might sleep in a non-sleepable prog")
