"""struct bpf_prog_info (kernel/bpf/syscall.c, bpf_prog_get_info_by_fd).

    +0 type +4 id +8 tag +16 jited_prog_len +20 xlated_prog_len +24 jited_prog_insns +32 xlated_prog_insns
    +40 load_time +48 created_by_uid +52 nr_map_ids +56 map_ids +64 name[16] +80 ifindex +84 gpl_compatible
    +88 netns_dev +96 netns_ino +104 nr_jited_ksyms +108 nr_jited_func_lens +112 jited_ksyms
    +120 jited_func_lens +128 btf_id +132 func_info_rec_size +136 func_info +144 nr_func_info
    +148 nr_line_info +152 line_info +160 jited_line_info +168 nr_jited_line_info +172 line_info_rec_size
    +176 jited_line_info_rec_size +180 nr_prog_tags +184 prog_tags +192 run_time_ns +200 run_cnt
    +208 recursion_misses +216 verified_insns +220 attach_btf_obj_id +224 attach_btf_id

The machine code is one function, whatever subprograms the program has: they may be inlined.
"""

import errno
import struct

from engine.errors import KernelError
from engine.isa import encode
from engine.memory import kernel_ptr
from engine.progs import Prog
from engine.syscall.infobuf import InfoBuffer

__all__ = ["PROG_INFO_SIZE", "prog_info"]

PROG_INFO_SIZE = 232
_LAYOUT = struct.Struct("<II8sIIQQQIIQ16sIIQQIIQQIIQIIQQIIIIQQQQIII4x")
_FUNC_REC, _LINE_REC, _JITED_LINE_REC = 8, 16, 8
_RECORDS = ((144, 132, _FUNC_REC), (148, 172, _LINE_REC), (168, 176, _JITED_LINE_REC))
"""(count, record size, the size that there is) of func_info, line_info and jited_line_info."""


def _func_info(prog: Prog) -> list[bytes]:
    return [struct.pack("<II", row.insn_off, row.type_id) for row in prog.spec.func_info]


def _line_info(prog: Prog) -> list[bytes]:
    offsets = prog.btf.string_offsets if prog.btf is not None else {}
    return [
        struct.pack(
            "<IIII",
            row.insn_off,
            offsets.get(row.file_name, 0),
            offsets.get(row.text, 0),
            row.line << 10 | row.column,
        )
        for row in prog.spec.line_info
    ]


def prog_info(prog: Prog, given: InfoBuffer) -> bytes:
    """The struct; what it points to is written to the caller. EINVAL for another size of records."""
    for count_at, size_at, size in _RECORDS:
        if (given.u32(count_at) or given.u32(size_at)) and given.u32(size_at) != size:
            raise KernelError(errno.EINVAL, "records of another size")
    xlated, jited = encode(prog.xlated), prog.jited
    funcs, lines = _func_info(prog), _line_info(prog)
    ids = b"".join(struct.pack("<I", getattr(used, "id", 0)) for used in prog.maps)
    given.fill(52, 56, ids, 4)
    given.fill(20, 32, xlated)
    given.fill(16, 24, jited)
    given.fill(104, 112, struct.pack("<Q", kernel_ptr(prog.address)), 8)
    given.fill(108, 120, struct.pack("<I", len(jited)), 4)
    given.fill(144, 136, b"".join(funcs), _FUNC_REC)
    given.fill(148, 152, b"".join(lines), _LINE_REC)
    given.fill(180, 184, prog.tag, 8)
    target = prog.spec.attach_btf_id
    return _LAYOUT.pack(
        prog.type,
        prog.id,
        prog.tag,
        len(jited),
        len(xlated),
        given.u64(24),
        given.u64(32),
        prog.load_time_ns,
        prog.uid,
        len(prog.maps),
        given.u64(56),
        prog.name.encode("latin-1"),
        0,
        int(prog.spec.gpl_compatible),
        0,
        0,
        1,
        1,
        given.u64(112),
        given.u64(120),
        prog.btf.id if prog.btf is not None else 0,
        _FUNC_REC,
        given.u64(136),
        len(funcs),
        len(lines),
        given.u64(152),
        given.u64(160),
        0,
        _LINE_REC,
        _JITED_LINE_REC,
        1,
        given.u64(184),
        prog.run_time_ns,
        prog.run_cnt,
        prog.missed,
        prog.verified.stats.insn_processed,
        prog.spec.kernel_btf.id if target else 0,
        target,
    )
