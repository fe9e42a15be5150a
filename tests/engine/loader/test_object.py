"""What is found in objects: maps, globals, externs, programs and their subprograms."""

import errno
import struct

import pytest

from engine.abi.bpf import AttachType, MapCreateFlag, MapType, ProgType
from engine.btf.types import DataSec, Func, Kind, Linkage, Var
from engine.errors import KernelError
from engine.isa import decode
from engine.isa.opcodes import PseudoSrc
from engine.loader import ObjectSpec, object_name, parse_object
from engine.loader.datamaps import internal_map_name
from engine.loader.elf import SectionType, read_elf
from engine.loader.spec import ExternKind, RelocKind
from engine.progspec import FuncLinkage
from tests.engine.loader.compiled import compile_c, example
from tests.engine.loader.sources import SOURCES

MMAPABLE, RDONLY_PROG = MapCreateFlag.MMAPABLE, MapCreateFlag.RDONLY_PROG


def parsed(name: str) -> ObjectSpec:
    """The compiled source of that name."""
    return parse_object(compile_c(SOURCES[name]), "obj")


def test_map_definitions() -> None:
    spec = parse_object(example("latency"), "latency")
    start, histogram, total = spec.maps.values()
    assert (start.type, start.key_size, start.value_size, start.max_entries) == (MapType.HASH, 8, 8, 10240)
    assert (histogram.type, histogram.key_size, histogram.max_entries) == (MapType.ARRAY, 4, 64)
    assert (total.type, total.value_size) == (MapType.PERCPU_ARRAY, 16)
    assert spec.btf is not None
    assert spec.btf.resolve(total.btf_value_type_id).name == "total"
    assert spec.btf.size_of(start.btf_key_type_id) == 8


def test_globals() -> None:
    maps = parsed("data").maps
    assert maps["obj.data"].content == b"\5\0\0\0\3\0\0\0\7\0\0\0"
    assert (maps["obj.data"].flags, maps["obj.data"].frozen) == (MMAPABLE, False)
    assert maps["obj.rodata"].content == b"\3\0\0\0abc\0"
    assert (maps["obj.rodata"].flags, maps["obj.rodata"].frozen) == (MMAPABLE | RDONLY_PROG, True)
    assert (maps["obj.bss"].content, maps["obj.bss"].value_size) == (None, 16)
    assert {".data.custom", ".rodata.more"} < set(maps)
    assert {(m.type, m.key_size, m.max_entries, m.btf_key_type_id) for m in maps.values()} == {
        (MapType.ARRAY, 4, 1, 0)
    }


def test_static_globals_are_not_mmapable() -> None:
    assert parsed("static_data").maps["obj.data"].flags == 0


def test_sections_are_completed_in_btf() -> None:
    spec = parsed("data")
    assert spec.btf is not None
    section = spec.btf.types[spec.maps["obj.data"].btf_value_type_id]
    assert isinstance(section, DataSec)
    names = {spec.btf.type(var.type).name: var.offset for var in section.vars}
    assert (section.size, names) == (12, {"g": 0, "hid": 4, "st": 8})
    hidden = next(t for t in spec.btf.types if isinstance(t, Var) and t.name == "hid")
    assert hidden.linkage == Linkage.STATIC


@pytest.mark.parametrize(
    ("name", "section", "expected"),
    [
        ("count", ".bss", "count.bss"),
        ("opensnoop", ".rodata", "opensnoo.rodata"),
        ("opensnoop", ".data", "opensnoo.data"),
        ("x", ".rodata.str1.1", ".rodata.str1.1"),
        ("x", ".data.a_rather_long_name", ".data.a_rather_"),
        ("a-b", ".bss", "a_b.bss"),
        ("counter", ".kconfig", "counter.kconfig"),
    ],
)
def test_names_of_internal_maps(name: str, section: str, expected: str) -> None:
    assert internal_map_name(name, section) == expected


def test_object_names() -> None:
    assert object_name("/tmp/count.bpf.o") == "count"
    assert object_name("count.o") == "count"


def test_map_in_map() -> None:
    outer = parsed("map_in_map").maps["outer"]
    assert (outer.type, outer.value_size, outer.slots) == (MapType.HASH_OF_MAPS, 4, {1: "in1", 3: "in2"})
    assert outer.inner is not None
    assert (outer.inner.type, outer.inner.key_size, outer.inner.value_size) == (MapType.HASH, 4, 8)


def test_prog_array() -> None:
    progs = parsed("prog_array").maps["progs"]
    assert (progs.type, progs.value_size, progs.slots) == (MapType.PROG_ARRAY, 4, {2: "callee"})
    assert progs.inner is None


def test_externs() -> None:
    spec = parsed("externs")
    kconfig = spec.maps["obj.kconfig"]
    assert (kconfig.value_size, kconfig.flags, kconfig.frozen) == (17, MMAPABLE | RDONLY_PROG, True)
    places = {e.name: e.offset for e in spec.externs.values() if e.kind is ExternKind.KCONFIG}
    assert places == {
        "CONFIG_NO_SUCH": 0,
        "LINUX_KERNEL_VERSION": 4,
        "CONFIG_BPF": 8,
        "CONFIG_DEFAULT_HOSTNAME": 9,
    }
    assert spec.externs["no_such_variable"].kind is ExternKind.KSYM_VARIABLE
    assert spec.externs["no_such_symbol"].kind is ExternKind.KSYM_ADDRESS
    assert spec.externs["CONFIG_BPF"].weak
    assert not spec.externs["LINUX_KERNEL_VERSION"].weak


def test_several_programs_in_a_section() -> None:
    spec = parsed("subprogs")
    assert [(p.name, p.secname.section) for p in spec.progs.values()] == [
        ("first", "kprobe/a"),
        ("second", "kprobe/a"),
    ]


def test_only_reached_functions_are_linked() -> None:
    progs = parsed("subprogs").progs
    assert [info.name for info in progs["first"].func_info] == ["first", "glob", "leaf"]
    assert [info.name for info in progs["second"].func_info] == ["second", "callback", "leaf", "hid"]
    linkages = {info.name: info.linkage for info in progs["second"].func_info}
    assert linkages["hid"] is FuncLinkage.STATIC
    assert progs["first"].func_info[1].linkage is FuncLinkage.GLOBAL


def test_calls_are_relative() -> None:
    prog = parsed("subprogs").progs["second"]
    starts = {info.name: info.insn_off for info in prog.func_info}
    targets = set()
    for at, insn in enumerate(decode(prog.insns)):
        if (insn.code, insn.src) in ((0x85, PseudoSrc.CALL), (0x18, PseudoSrc.FUNC)):
            targets.add(at + insn.imm + 1)
    assert targets == {starts["callback"], starts["leaf"], starts["hid"]}


def test_line_info_follows_its_function() -> None:
    prog = parsed("subprogs").progs["first"]
    lines = {line.insn_off: line.text.strip() for line in prog.line_info}
    for info in prog.func_info:
        assert f"{info.name}(" in lines[info.insn_off], info
    assert [line.insn_off for line in prog.line_info] == sorted(line.insn_off for line in prog.line_info)


def test_two_names_of_one_place() -> None:
    source = """
        static __attribute__((noinline)) int leaf(int x) { return x * 3 + bpf_get_prandom_u32(); }
        SEC("kprobe/a") int whole(void *ctx) { return leaf(1) + leaf(2); }
        int part(void *ctx) __attribute__((alias("whole")));
    """
    data = compile_c(source)
    assert set(parse_object(data).progs) == {"whole", "part"}
    elf = read_elf(data)
    table = next(section for section in elf.sections if section.type == SectionType.SYMTAB)
    index = next(i for i, symbol in enumerate(elf.symbols) if symbol.name == "part")
    broken = bytearray(data)
    struct.pack_into("<Q", broken, data.index(table.data) + 24 * index + 16, 8)
    progs = parse_object(bytes(broken)).progs
    assert len(progs["part"].insns) == 8 < len(progs["whole"].insns)


def test_relocations_of_maps_and_data() -> None:
    relocs = parsed("data").progs["prog"].relocs
    assert {reloc.kind for reloc in relocs} == {RelocKind.MAP_VALUE}
    assert ("obj.data", 8) in {(reloc.name, reloc.offset) for reloc in relocs}
    count = parse_object(example("count"), "count").progs["count"]
    assert {(reloc.kind, reloc.name) for reloc in count.relocs} == {(RelocKind.MAP_FD, "hits")}


def test_program_alone_in_text() -> None:
    spec = parse_object(compile_c("int prog(void *ctx) { return 0; }"))
    assert list(spec.progs) == ["prog"]
    assert spec.progs["prog"].secname.definition is None


def test_functions_in_text_are_no_programs_beside_others() -> None:
    source = 'int sub(int x) { return x; } SEC("xdp") int prog(void *ctx) { return 2; }'
    assert list(parse_object(compile_c(source)).progs) == ["prog"]


def test_without_debug_information() -> None:
    source = 'int g = 3; SEC("kprobe") int prog(void *ctx) { return g; }'
    spec = parse_object(compile_c(source, "-g0"), "o")
    assert spec.btf is None
    assert (spec.maps["o.data"].flags, spec.maps["o.data"].content) == (0, b"\3\0\0\0")
    assert spec.progs["prog"].func_info == []


def test_legacy_maps() -> None:
    source = """
        struct bpf_map_def { unsigned type, key_size, value_size, max_entries, map_flags, id, pinning; };
        struct bpf_map_def one SEC("maps") = { 1, 4, 8, 16, 1, 7, 1 }, two SEC("maps") = { 2, 4, 4, 2 };
        SEC("kprobe/a") int prog(void *ctx) {
            __u32 k = 1;
            return bpf_map_lookup_elem(&one, &k) || bpf_map_lookup_elem(&two, &k);
        }
    """
    for options in ((), ("-g0",)):
        spec = parse_object(compile_c(source, *options))
        one, two = spec.maps["one"], spec.maps["two"]
        assert (one.type, one.key_size, one.value_size, one.max_entries, one.flags) == (1, 4, 8, 16, 1)
        assert (one.pin_by_name, two.pin_by_name, two.type) == (True, False, MapType.ARRAY)
        assert {reloc.name for reloc in spec.progs["prog"].relocs} == {"one", "two"}


def test_license_and_version() -> None:
    source = 'unsigned v SEC("version") = 0x60123; SEC("xdp") int prog(void *ctx) { return 2; }'
    spec = parse_object(compile_c(source))
    assert (spec.license, spec.version) == ("GPL", 0x60123)


def test_all_attributes_of_a_map() -> None:
    source = """
        struct {
            __uint(type, 30);
            __uint(key_size, 0);
            __type(value, __u32);
            __uint(max_entries, 100);
            __uint(map_flags, 4);
            __uint(numa_node, 1);
            __uint(map_extra, 3);
            __uint(pinning, LIBBPF_PIN_BY_NAME);
        } bloom SEC(".maps");
    """
    bloom = parse_object(compile_c(source)).maps["bloom"]
    assert (bloom.type, bloom.flags, bloom.numa_node, bloom.map_extra) == (MapType.BLOOM_FILTER, 4, 1, 3)
    assert (bloom.key_size, bloom.value_size, bloom.pin_by_name) == (0, 4, True)


def test_numbers_that_are_enumerators() -> None:
    source = """
        struct {
            __uint(type, 30);
            __type(value, __u32);
            __uint(max_entries, 100);
            enum { _extra = 3 } map_extra;
        } bloom SEC(".maps");
    """
    assert parse_object(compile_c(source)).maps["bloom"].map_extra == 3


def test_values_of_rings_are_for_readers() -> None:
    source = """
        struct event { __u64 a, b; };
        struct { __uint(type, 27); __uint(max_entries, 1); __type(value, struct event); } ring SEC(".maps");
        struct { __uint(type, 4); __type(value, struct event); } perf SEC(".maps");
    """
    maps = parse_object(compile_c(source)).maps
    assert [(m.key_size, m.value_size, m.btf_value_type_id) for m in maps.values()] == [(0, 0, 0), (4, 4, 0)]


@pytest.mark.parametrize(
    ("source", "number", "words"),
    [
        ('struct { __uint(nonsense, 1); } m SEC(".maps");', errno.EOPNOTSUPP, "unknown field 'nonsense'"),
        ('struct { __uint(max_entries, 1); } m SEC(".maps");', errno.EINVAL, "map type isn't specified"),
        (
            'struct { __uint(type, 1); __uint(key_size, 8); __type(key, int); } m SEC(".maps");',
            errno.EINVAL,
            "conflicting key_size 8 != 4",
        ),
        ('struct { int type; } m SEC(".maps");', errno.EINVAL, "expected PTR, got INT"),
        ('struct { __uint(type, 1); __uint(pinning, 5); } m SEC(".maps");', errno.EINVAL, "pinning value 5"),
        ('int m SEC(".maps");', errno.EINVAL, "it is no struct"),
        (
            'SEC("kprobe/a") static __attribute__((used)) int p(void *c) { return 0; }',
            errno.EOPNOTSUPP,
            "static",
        ),
        (
            'extern int nope(int); SEC("xdp") int p(void *c) { return nope(1); }',
            errno.EINVAL,
            "extern 'nope'",
        ),
        ('int v SEC("odd") = 1; SEC("xdp") int p(void *c) { return v; }', errno.EINVAL, "bad data relo"),
        ('char v[3] SEC("version") = "ab";', errno.EINVAL, "version of 3 bytes"),
        (
            'struct { __uint(type, 30); enum { _a, _b } map_extra; } m SEC(".maps");',
            errno.EINVAL,
            "invalid __ulong",
        ),
        (
            'extern struct { int x; } CONFIG_X __kconfig; SEC("xdp") int p(void *c) { return CONFIG_X.x; }',
            errno.EOPNOTSUPP,
            "'CONFIG_X': type is unsupported",
        ),
        (
            'extern char CONFIG_X[100000] __kconfig; SEC("xdp") int p(void *c) { return CONFIG_X[3]; }',
            errno.E2BIG,
            "'CONFIG_X' of 100000 bytes is too big",
        ),
        ('struct { int x; } ops SEC(".struct_ops.link") = { 1 };', errno.EOPNOTSUPP, "struct_ops"),
    ],
)
def test_refused(source: str, number: int, words: str) -> None:
    with pytest.raises(KernelError, match=words) as caught:
        parse_object(compile_c(source))
    assert caught.value.errno == number


def test_kernel_functions_become_known_to_btf() -> None:
    source = """
        extern int some_kfunc(int) __ksym __weak;
        SEC("kprobe/a") int prog(void *ctx) { return some_kfunc ? some_kfunc(2) : 0; }
    """
    spec = parse_object(compile_c(source))
    assert spec.externs["some_kfunc"].kind is ExternKind.KFUNC
    assert spec.btf is not None
    found = spec.btf.find("some_kfunc", Kind.FUNC)
    assert found is not None
    record = spec.btf.types[found]
    assert isinstance(record, Func)
    assert record.linkage == Linkage.GLOBAL


def test_types_and_targets_of_programs() -> None:
    source = "".join(
        f'SEC("{section}") int p{number}(void *ctx) {{ return 0; }}\n'
        for number, section in enumerate(["kprobe/a", "fentry/vfs_read", "xdp", "?tp/sched/x", "what/ever"])
    )
    names = [prog.secname for prog in parse_object(compile_c(source)).progs.values()]
    assert [name.type for name in names] == [
        ProgType.KPROBE,
        ProgType.TRACING,
        ProgType.XDP,
        ProgType.TRACEPOINT,
        ProgType.UNSPEC,
    ]
    assert [name.target for name in names] == ["a", "vfs_read", "", "sched/x", ""]
    assert [name.autoload for name in names] == [True, True, True, False, True]
    assert names[1].definition is not None
    assert names[1].definition.attach is AttachType.TRACE_FENTRY
