"""BTF of the modelled kernel: its structs, its functions with prototypes, its tracepoints, UAPI enums.

Made once from the tables of this package. It is what the mount serves as btf/vmlinux and what CO-RE
relocations and BTF-typed attachments resolve against.
"""

import re
from enum import IntEnum
from functools import cache

from engine.abi.bpf import AttachType, FuncId, LinkType, MapType, ProgType
from engine.btf.build import BtfBuilder
from engine.btf.types import Composite, Encoding, Kind, Member, Param
from engine.kernel.functions import FUNCTIONS
from engine.kernel.structs import STRUCTS, TYPEDEFS
from engine.kernel.tracepoints import Tracepoint, tracepoints

__all__ = ["kernel_btf"]

_SIGNED, _CHAR, _BOOL = Encoding.SIGNED, Encoding.CHAR, Encoding.BOOL
_BASE = {
    "char": (1, _CHAR),
    "signed char": (1, _SIGNED),
    "unsigned char": (1, Encoding.NONE),
    "short": (2, _SIGNED),
    "unsigned short": (2, Encoding.NONE),
    "int": (4, _SIGNED),
    "unsigned int": (4, Encoding.NONE),
    "long": (8, _SIGNED),
    "unsigned long": (8, Encoding.NONE),
    "long long": (8, _SIGNED),
    "unsigned long long": (8, Encoding.NONE),
    "_Bool": (1, _BOOL),
}
_ENUMS: dict[str, tuple[type[IntEnum], str]] = {
    "bpf_map_type": (MapType, "BPF_MAP_TYPE_"),
    "bpf_prog_type": (ProgType, "BPF_PROG_TYPE_"),
    "bpf_attach_type": (AttachType, "BPF_"),
    "bpf_link_type": (LinkType, "BPF_LINK_TYPE_"),
    "bpf_func_id": (FuncId, "BPF_FUNC_"),
}
_LAST = {"bpf_prog_type": ProgType.SYSCALL, "bpf_attach_type": AttachType.LSM_CGROUP}
"""Enumerators beyond are of kernels that came later: programs ask by them for what a kernel can do."""
_DECLARATION = re.compile(r"(?P<type>.*?[ *])(?P<name>\w+)(\[(?P<count>\d+)\])?")
_RAW_PROTOTYPES = {
    "raw_syscalls:sys_enter": "struct pt_regs *regs, long id",
    "raw_syscalls:sys_exit": "struct pt_regs *regs, long ret",
    "sched:sched_process_exec": "struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm",
    "sched:sched_process_exit": "struct task_struct *p",
    "sched:sched_process_fork": "struct task_struct *parent, struct task_struct *child",
    "task:task_newtask": "struct task_struct *task, unsigned long clone_flags",
    "task:task_rename": "struct task_struct *task, const char *comm",
}
_RECORD_NAMES = {"sched_process_exit": "sched_process_template"}
"""Records that are named after the class of their event."""


class _Types:
    """C types by name, added to the builder when they are first mentioned."""

    def __init__(self) -> None:
        self.builder = BtfBuilder()
        self._typedefs = dict(line.split(" ", 1) for line in TYPEDEFS.splitlines())
        self._structs: dict[str, int] = {}
        self._layouts: dict[str, tuple[int, list[str]]] = {}
        for block in re.split(r"^struct ", STRUCTS, flags=re.MULTILINE)[1:]:
            head, *rows = block.splitlines()
            name, size = head.split()
            self._layouts[name] = (int(size), rows)

    def named(self, text: str) -> int:
        """Type id of a C type without declarator, `void` being 0."""
        text = text.strip()
        if text.endswith("*"):
            return self.builder.pointer(self.named(text[:-1]))
        if text.startswith("const "):
            return self.builder.const(self.named(text.removeprefix("const ")))
        if text == "void":
            return 0
        if text in _BASE:
            return self.builder.integer(text, *_BASE[text])
        if text in self._typedefs:
            return self.builder.typedef(text, self.named(self._typedefs[text]))
        if text.startswith("struct "):
            return self.struct(text.removeprefix("struct "))
        return self.builder.fwd(text.rpartition(" ")[2])

    def struct(self, name: str) -> int:
        """Type id of a struct; of one that is not modelled, a forward declaration."""
        if name in self._structs:
            return self._structs[name]
        if name not in self._layouts:
            return self.builder.fwd(name)
        size, rows = self._layouts[name]
        # The id is needed before the members that point back at it can be added.
        record = Composite(Kind.STRUCT, name, size, ())
        self._structs[name] = self.builder.add(record)
        members = [self.member(row.strip().rpartition(" ")[0], int(row.rpartition(" ")[2])) for row in rows]
        self.builder.types[self._structs[name]] = Composite(Kind.STRUCT, name, size, tuple(members))
        return self._structs[name]

    def member(self, declaration: str, offset: int) -> Member:
        """A field at byte `offset`."""
        match = _DECLARATION.fullmatch(declaration)
        if match is None:
            raise ValueError(f"not a declaration: {declaration!r}")
        type_id = self.named(match["type"])
        if match["count"] is not None:
            index = self.builder.integer("unsigned int", 4)
            type_id = self.builder.array(type_id, int(match["count"]), index)
        return Member(match["name"], type_id, offset * 8)

    def params(self, text: str) -> list[Param]:
        """Parameters of a prototype, separated by commas."""
        members = (self.member(part.strip(), 0) for part in text.split(",") if part)
        return [Param(member.name, member.type) for member in members]

    def all_structs(self) -> None:
        """Add what nothing has mentioned yet."""
        for name in self._layouts:
            self.struct(name)


def _record(types: _Types, row: Tracepoint) -> None:
    """`struct trace_event_raw_*` and the prototype of raw programs of one tracepoint."""
    builder = types.builder
    members = [Member("ent", types.struct("trace_entry"), 0)]
    end = 8
    for field in row.fields:
        if field.type == "__data_loc char[]":
            members.append(types.member(f"u32 __data_loc_{field.name}", field.offset))
        else:
            members.append(types.member(f"{field.type} {field.name}", field.offset))
        end = field.offset + field.size
    size = -(-end // 8) * 8
    members.append(types.member("char __data[0]", end))
    builder.struct(f"trace_event_raw_{_RECORD_NAMES.get(row.name, row.name)}", size, members)
    params = [Param("__data", builder.pointer(0)), *types.params(_RAW_PROTOTYPES[row.id])]
    prototype = builder.func_proto(0, [Param("", param.type) for param in params])
    builder.typedef(f"btf_trace_{row.name}", builder.pointer(prototype))


@cache
def kernel_btf() -> bytes:
    """The blob, the same in every run."""
    types = _Types()
    builder = types.builder
    types.all_structs()
    for name, (enum, prefix) in _ENUMS.items():
        last = _LAST.get(name, max(enum))
        members = {key: int(member) for key, member in enum.__members__.items() if member <= last}
        builder.enum(name, {f"{prefix}{key}": value for key, value in members.items()})
    for row in tracepoints().values():
        if row.id in _RAW_PROTOTYPES:
            _record(types, row)
    for function in FUNCTIONS.values():
        params = [Param(param.name, types.named(param.type)) for param in function.params]
        builder.func(function.name, builder.func_proto(types.named(function.returns), params))
    return builder.encode()
