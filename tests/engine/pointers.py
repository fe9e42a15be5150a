"""Hypothesis strategy for programs that work with pointers: map values, stack, spills, bounds, subprograms.

Offsets are made safe by masking, so verifiers accept nearly all of them. Each ends with r0 as a digest.
"""

from hypothesis import strategies as st

__all__ = ["VALUE_SIZE", "pointer_programs"]

VALUE_SIZE = 64
_SIZES = st.sampled_from(
    [(8, "u8"), (16, "u16"), (32, "u32"), (64, "u64"), (8, "s8"), (16, "s16"), (32, "s32")]
)
_PTRS = st.sampled_from(["r6", "r7"])
_SCALAR = st.sampled_from(["r8", "r9"])
_HEAD = """
    r9 = *(u32 *)(r1 +0)
    r8 = r9
    r8 *= 40503
    r8 += {seed}
    *(u32 *)(r10 -4) = 0
    r2 = r10
    r2 += -4
    r1 = map_fd[0]
    call bpf_map_lookup_elem
    if r0 == 0x0 goto nothing
    r6 = r0
    r7 = r10
    r7 += -64
    r1 = 0
    *(u64 *)(r10 -64) = r1
    *(u64 *)(r10 -56) = r1
    *(u64 *)(r10 -48) = r1
    *(u64 *)(r10 -40) = r1
    *(u64 *)(r10 -32) = r8
    *(u64 *)(r10 -24) = r9
    *(u64 *)(r10 -16) = r1
    *(u64 *)(r10 -8) = r1
"""
_TAIL = """
    r0 = r8
    r0 *= 31
    r0 ^= r9
    r1 = *(u64 *)(r6 +0)
    r0 += r1
    r1 = *(u64 *)(r6 +56)
    r0 += r1
    r1 = r0
    r1 >>= 32
    r0 ^= r1
    w0 = w0
    exit
nothing: r0 = 0
    exit
"""
_MIX = """
mix: r3 = *(u64 *)(r1 +8)
    r3 += r2
    *(u64 *)(r1 +8) = r3
    r0 = r3
    if r3 s> r2 goto done
    r0 = -7
done: exit
"""


@st.composite
def _access(draw: st.DrawFn) -> str:
    """A load or store at a fixed or a masked offset."""
    bits, kind = draw(_SIZES)
    size = bits // 8
    base, value = draw(_PTRS), draw(_SCALAR)
    # Only map values are accessed at variable offsets.
    if base == "r6" and draw(st.booleans()):
        index = draw(_SCALAR)
        mask = (VALUE_SIZE - 1) & ~(size - 1)
        lines = [f"r1 = {index}", f"r1 &= {mask}", "r2 = r6", "r2 += r1"]
        base, offset = "r2", 0
    else:
        lines = []
        last = (24 if base == "r7" else VALUE_SIZE) // size - 1
        offset = size * draw(st.integers(0, last))
    if draw(st.booleans()):
        lines.append(f"{value} = *({kind} *)({base} {offset:+d})")
    else:
        lines.append(f"*(u{bits} *)({base} {offset:+d}) = {value}")
    return "\n".join(lines)


@st.composite
def _arithmetic(draw: st.DrawFn) -> str:
    dst, src = draw(_SCALAR), draw(_SCALAR)
    width = draw(st.sampled_from("rw"))
    op = draw(st.sampled_from(["+=", "-=", "*=", "^=", "|=", "&=", "/=", "%=", "s/=", "s%="]))
    operand = f"{width}{src[1]}" if draw(st.booleans()) else str(draw(st.integers(1, 1 << 20)))
    return f"{width}{dst[1]} {op} {operand}"


@st.composite
def _branch(draw: st.DrawFn) -> str:
    """A scalar changed on one side, or a pointer moved there and back."""
    test = draw(st.sampled_from(["==", "!=", ">", "s>", "<=", "s<", "&"]))
    left = draw(_SCALAR)
    right = draw(st.sampled_from(["r8", "r9", "0x7", "0x80000000"]))
    inside = draw(st.one_of(_arithmetic(), _access()))
    return f"if {left} {test} {right} goto @\n{inside}\n@: r1 = 0"


_SPILL = st.sampled_from(
    [
        "*(u64 *)(r10 -16) = r6\nr6 = *(u64 *)(r10 -16)",
        "*(u64 *)(r10 -16) = r6\nr1 = *(u64 *)(r10 -16)\nr9 = *(u64 *)(r1 +16)\n*(u64 *)(r10 -16) = 0",
        "r1 = r6\nr1 += 24\nr1 -= 8\nr8 = *(u32 *)(r1 +0)",
        "r1 = r7\nr2 = r8\ncall mix\nr8 = r0",
        "r1 = r6\nr2 = r9\ncall mix\nr9 = r0",
        "r1 = r7\nr1 += 32\n*(u32 *)(r1 +0) = r8\nr9 = *(u64 *)(r1 +0)",
        "if r6 == 0x0 goto nothing\nr8 ^= 3",
        "r1 = r6\nr1 += 8\nlock *(u64 *)(r1 +0) += r8",
        "r1 = r6\nr9 = atomic64_fetch_xor((u64 *)(r1 +40), r9)",
        "r1 = r9\nr1 &= 7\nr2 = r6\nr2 += r1\n*(u8 *)(r2 +32) = r8",
        "r1 = r8\nw1 &= 15\nr1 += r6\nr8 = *(u8 *)(r1 +20)",
        "r1 = r6\nr1 += 60\nr2 = r8\nr2 &= 31\nr1 -= r2\nr9 = *(u8 *)(r1 -12)",
    ]
)


@st.composite
def pointer_programs(draw: st.DrawFn, size: int = 14) -> str:
    """Text of a program; `map_fd[0]` is an array with one value of VALUE_SIZE bytes."""
    parts = draw(st.lists(st.one_of(_access(), _arithmetic(), _branch(), _SPILL), min_size=1, max_size=size))
    body = "\n".join(part.replace("@", f"join{number}") for number, part in enumerate(parts))
    mix = _MIX if "call mix" in body else ""
    return _HEAD.format(seed=draw(st.integers(0, 1 << 30))) + body + _TAIL + mix
