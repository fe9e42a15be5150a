"""The value a program returns: the ranges that program types demand (`check_return_code`)."""

from engine.abi.bpf import AttachType, ProgType
from engine.verifier.env import Env
from engine.verifier.funcs import bad_scalar
from engine.verifier.precision import mark_chain_precision
from engine.verifier.regs import SCALAR

__all__ = ["check_return"]

_TRACING = {AttachType.TRACE_FENTRY: (0, 0), AttachType.TRACE_FEXIT: (0, 0)}


def _range(env: Env) -> tuple[int, int] | None:
    spec = env.spec
    if spec.type == ProgType.CGROUP_SKB:
        return (0, 3) if spec.expected_attach_type == AttachType.CGROUP_INET_EGRESS else (0, 1)
    if spec.type == ProgType.TRACING and spec.expected_attach_type is not None:
        return _TRACING.get(spec.expected_attach_type)
    return None


def check_return(env: Env) -> None:
    """Check R0 at the end of a program, or of a global function verified on its own."""
    reg = env.read_reg(0)
    if env.subprog:
        if reg.type != SCALAR:
            env.invalid(f"At subprogram exit the register R0 is not a scalar value ({reg.name})")
        return
    allowed = _range(env)
    if allowed is None:
        return
    if reg.type != SCALAR:
        env.invalid(f"At program exit the register R0 is not a known value ({reg.name})")
    mark_chain_precision(env, 0)
    if not allowed[0] <= reg.b.smin <= reg.b.smax <= allowed[1]:
        env.invalid(bad_scalar(reg, allowed, "program exit"))
