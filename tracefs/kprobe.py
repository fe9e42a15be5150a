"""Kprobe events: one event with one probe or several, its format and the rendering of its records."""

import struct
from collections.abc import Callable

from engine.env import poke32, poke64
from engine.jit.lang import compile_native
from engine.probes.probe import Probe
from tracefs.context import Context
from tracefs.event import TraceEvent
from tracefs.fetch_insn import Op, ProbeArg
from tracefs.fetch_table import FetchTable
from tracefs.fields import COMMON_SIZE, Field
from tracefs.kprobe_hit import ProbeDesc, kprobe_hit, kretprobe_hit

__all__ = ["KprobeEvent", "TraceKprobe", "own_size"]

_CODES = {(1, False): "B", (2, False): "H", (4, False): "I", (8, False): "Q"}
_CODES |= {(size, True): code.lower() for (size, _), code in list(_CODES.items())}
_ULONG = "unsigned long"
_KEEP = 1024
"""Places of hits whose text is remembered: one for a probe, one per caller for a return probe."""


def own_size(is_return: bool) -> int:
    """Bytes before the arguments: the common fields and one address, or two for a return probe."""
    return COMMON_SIZE + (16 if is_return else 8)


def _own_fields(is_return: bool) -> list[Field]:
    if is_return:
        return [
            Field(_ULONG, "__probe_func", COMMON_SIZE, 8, False),
            Field(_ULONG, "__probe_ret_ip", COMMON_SIZE + 8, 8, False),
        ]
    return [Field(_ULONG, "__probe_ip", COMMON_SIZE, 8, False)]


def _arg_field(arg: ProbeArg) -> Field:
    kind = arg.type
    if not arg.count:
        return Field(kind.fmttype, arg.name, arg.offset, arg.size, kind.signed)
    if kind.is_string:
        return Field(f"{kind.fmttype}[{arg.count}]", arg.name, arg.offset, arg.size, kind.signed)
    return Field(kind.fmttype, arg.name, arg.offset, arg.size, kind.signed, "[]")


def _print_fmt(args: list[ProbeArg], is_return: bool) -> str:
    """`print fmt` (`traceprobe_set_print_fmt`)."""
    text = "(%lx <- %lx)" if is_return else "(%lx)"
    values = "REC->__probe_func, REC->__probe_ret_ip" if is_return else "REC->__probe_ip"
    for arg in args:
        names = [f"{arg.name}[{i}]" for i in range(arg.count)] if arg.count else [arg.name]
        conversions = ",".join(arg.type.fmt for _ in names)
        text += f" {arg.name}=" + (f"{{{conversions}}}" if arg.count else conversions)
        for name in names:
            values += f", __get_str({name})" if arg.type.is_string else f", REC->{name}"
    return f'"{text}", {values}'


def _text_at(data: bytes, location: int) -> str:
    """A string of the dynamic area as it is shown; `location` is its `__data_loc` word."""
    length = location >> 16 & 0xFFFF
    if not length:
        return "(fault)"
    start = location & 0xFFFF
    return '"' + data[start : start + length - 1].decode("latin-1") + '"'


class _Renderer:
    """Precompiled formatting of one event's records: one unpack, one %-format."""

    def __init__(self, event: "KprobeEvent", args: list[ProbeArg]) -> None:
        self._symbols = event.context.symbols
        self._options = event.context.options
        self._is_return = event.is_return
        codes = "<" + ("QQ" if event.is_return else "Q")
        first = position = 2 if event.is_return else 1
        template = "".join(self._arg_template(arg) for arg in args)
        self._special: list[tuple[int, Callable[[bytes, int], str]]] = []
        for arg in args:
            number = arg.count or 1
            signed = arg.type.signed and not arg.type.is_string
            codes += _CODES[arg.type.size, signed] * number
            for i in range(number):
                if arg.type.is_string:
                    self._special.append((position + i, _text_at))
                elif arg.type.fmt == "%pS":
                    self._special.append((position + i, self._pointer))
            position += number
        self._first = first
        self._places: dict[bool, dict[tuple[int, ...], str]] = {False: {}, True: {}}
        self._unpack = struct.Struct(codes).unpack_from
        self._template = f"{event.name}: (%s){template}\n"

    @staticmethod
    def _arg_template(arg: ProbeArg) -> str:
        conversion = "%s" if arg.type.is_string or arg.type.fmt == "%pS" else arg.type.fmt.replace("L", "")
        one = ",".join([conversion] * (arg.count or 1))
        return f" {arg.name}=" + (f"{{{one}}}" if arg.count else one)

    def _pointer(self, data: bytes, value: int) -> str:
        return self._symbols.pointer(value)

    def _place(self, values: tuple[int, ...], with_address: bool) -> str:
        """What stands in the parentheses."""
        symbols = self._symbols

        def shown(text: str, value: int) -> str:
            return f"{text} <{value:016x}>" if with_address else text

        if not self._is_return:
            return shown(symbols.full(values[0]), values[0])
        function, caller = values
        return f"{shown(symbols.full(caller), caller)} <- {shown(symbols.short(function), function)}"

    def __call__(self, data: bytes) -> str:
        values = self._unpack(data, COMMON_SIZE)
        first = self._first
        places = self._places[self._options.state["sym-addr"]]
        place = places.get(values[:first])
        if place is None:
            if len(places) >= _KEEP:
                places.clear()
            place = places[values[:first]] = self._place(values[:first], places is self._places[True])
        if not self._special:
            return self._template % (place, *values[first:])
        shown: list[int | str] = list(values)
        for index, show in self._special:
            shown[index] = show(data, values[index])
        return self._template % (place, *shown[first:])


def _reads_kernel(arg: ProbeArg) -> bool:
    """Whether an argument follows a pointer that may lead to a kernel object."""
    return any(insn.op in (Op.DEREF, Op.ST_MEM, Op.ST_STRING) for insn in arg.code)


class TraceKprobe:
    """One probe of an event (`struct trace_kprobe`): place, arguments, the engine's probe, its native half.

    `probe` is None while its module is not loaded.
    """

    def __init__(
        self,
        *,
        symbol: str | None,
        offset: int,
        address: int,
        is_return: bool,
        maxactive: int,
        args: list[ProbeArg],
    ) -> None:
        self.symbol = symbol
        self.offset = offset
        self.address = address
        self.is_return = is_return
        self.maxactive = maxactive
        self.args = args
        self.probe: Probe | None = None
        self.table: FetchTable | None = None
        self.native = 0

    @property
    def place(self) -> str:
        """`symbol+offset` or the address, as read back."""
        if self.symbol is None:
            return f"0x{self.address:016x}"
        return f"{self.symbol}+{self.offset}" if self.offset else self.symbol

    def words(self) -> list[str]:
        """The arguments as read back."""
        return [f"{arg.name}={arg.comm}" for arg in self.args]

    def same(self, other: "TraceKprobe") -> bool:
        """Whether place and expressions are the same (`trace_kprobe_has_same_kprobe`)."""
        return self.place == other.place and [a.comm for a in self.args] == [a.comm for a in other.args]

    def register(self, event: "KprobeEvent", symbols: dict[str, int]) -> None:
        """Make it known to the engine, disabled. Raises the engine's KernelError."""
        machine = event.context.machine
        where = machine.kernel.symbols.lookup(self.symbol) if self.symbol else None
        self.table = FetchTable(machine.heap, self.args, symbols)
        self.native = machine.heap.alloc(ProbeDesc.SIZE)
        poke64(self.native + ProbeDesc.EVENT, event.address)
        poke64(self.native + ProbeDesc.ADDRESS, where.address + self.offset if where else self.address)
        poke32(self.native + ProbeDesc.NR_ARGS, len(self.args))
        fixed = own_size(self.is_return) + sum(arg.size for arg in self.args)
        poke32(self.native + ProbeDesc.FIXED, fixed)
        poke64(self.native + ProbeDesc.ARGS, self.table.address)
        handler = kretprobe_hit if self.is_return else kprobe_hit
        if not handler.compiled:
            # Both at once: they share nearly all of their code, and nobody waits for the second one later.
            compile_native([kprobe_hit, kretprobe_hit])
        self.probe = machine.probes.register(
            self.symbol,
            None if self.symbol else self.address,
            self.offset,
            handler.address,
            self.native,
            ret=self.is_return,
            max_active=self.maxactive,
        )
        siblings = (other.probe for other in event.probes if other.probe is not None)
        self.probe.follows_pointers = any(map(_reads_kernel, self.args)) or any(
            probe.follows_pointers for probe in siblings
        )

    def unregister(self, event: "KprobeEvent") -> None:
        """Take it from the engine and give its native half back when no hit can use it."""
        machine = event.context.machine
        if self.probe is not None:
            self.probe.unregister()
        native, table = self.native, self.table

        def reclaim() -> None:
            if table is not None:
                table.free()
            if native:
                machine.heap.free(native)

        machine.epoch.retire(reclaim)
        self.probe, self.table, self.native = None, None, 0


class KprobeEvent(TraceEvent):
    """An event of kprobe_events. Several probes may share it when their arguments look the same."""

    def __init__(self, context: Context, system: str, name: str, number: int, first: TraceKprobe) -> None:
        self.is_return = first.is_return
        fields = [*_own_fields(self.is_return), *(_arg_field(arg) for arg in first.args)]
        super().__init__(context, system, name, number, tuple(fields), _print_fmt(first.args, self.is_return))
        self.probes: list[TraceKprobe] = []
        self.formatter = _Renderer(self, first.args)

    def attach(self, on: bool) -> None:
        """Arm or disarm all its probes."""
        probes = [each.probe for each in self.probes if each.probe is not None]
        self.context.machine.probes.set_enabled(probes, on)
