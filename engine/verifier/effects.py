"""What functions do that their callers must know, found before anything is walked."""

from engine.abi.bpf import FuncId
from engine.isa import LD_IMM64, PseudoSrc
from engine.verifier.env import Env

__all__ = ["CHANGES_PACKET", "callees", "note_effects"]

_CALL = 0x85
CHANGES_PACKET = frozenset(
    {
        FuncId.skb_vlan_push,
        FuncId.skb_vlan_pop,
        FuncId.skb_store_bytes,
        FuncId.skb_change_proto,
        FuncId.skb_change_head,
        FuncId.skb_change_tail,
        FuncId.skb_pull_data,
        FuncId.skb_adjust_room,
        FuncId.clone_redirect,
        FuncId.l3_csum_replace,
        FuncId.l4_csum_replace,
        FuncId.xdp_adjust_head,
        FuncId.xdp_adjust_meta,
        FuncId.xdp_adjust_tail,
    }
)
"""Helpers after which packet pointers are void (`bpf_helper_changes_pkt_data`). A tail call is none of them:
it voids them where it succeeds and a function is left by it."""


def callees(env: Env, number: int) -> list[int]:
    """Functions that a function calls, or hands to a helper as a callback, in the order of instructions."""
    subprog = env.subprogs[number]
    found: dict[int, None] = {}
    i = subprog.start
    while i < subprog.end:
        insn = env.insns[i]
        if insn.code == LD_IMM64:
            if insn.src == PseudoSrc.FUNC:
                found[env.subprog_at[i + insn.imm + 1]] = None
            i += 1
        elif insn.code == _CALL and insn.src == PseudoSrc.CALL:
            found[env.subprog_at[i + insn.imm + 1]] = None
        i += 1
    return list(found)


def note_effects(env: Env) -> None:
    """Mark functions that may change the packet, themselves or through others (`merge_callee_effects`)."""
    callers: list[list[int]] = [[] for _ in env.subprogs]
    for number in range(len(env.subprogs)):
        for callee in callees(env, number):
            callers[callee].append(number)
    work = []
    for number, subprog in enumerate(env.subprogs):
        if subprog.has_tail_call or any(
            insn.code == _CALL and insn.src == PseudoSrc.CALL_HELPER and insn.imm in CHANGES_PACKET
            for insn in env.insns[subprog.start : subprog.end]
        ):
            work.append(number)
    while work:
        number = work.pop()
        if not env.subprogs[number].changes_packet:
            env.subprogs[number].changes_packet = True
            work += callers[number]
