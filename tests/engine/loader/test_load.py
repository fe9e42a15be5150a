"""Objects on a machine: maps with content, programs that run, nothing left after a failure."""

import errno
from collections.abc import Iterator

import pytest

from engine.abi.bpf import MapType, ProgType
from engine.btf.types import Kind
from engine.errors import KernelError
from engine.isa import LD_IMM64
from engine.loader import KernelInfo, LoadError, load_object, load_spec, parse_object
from engine.loader.kernelinfo import kernel_version, modelled_kernel
from engine.loader.load import map_spec
from engine.loader.patch import prog_spec
from engine.loader.spec import MapDef, ObjectSpec
from engine.machine import Machine
from tests.engine.loader.compiled import compile_c, example
from tests.engine.loader.sources import SOURCES


@pytest.fixture
def machine() -> Iterator[Machine]:
    """A machine of its own for each test."""
    made = Machine()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["count", "latency", "opensnoop"])
def test_examples_load(machine: Machine, name: str) -> None:
    loaded = load_object(example(name), machine, name=name)
    assert set(loaded.progs) == set(loaded.spec.progs) == set(loaded.sections)
    assert set(loaded.maps) == set(loaded.spec.maps)
    assert {prog.type for prog in loaded.progs.values()} == {ProgType.KPROBE}
    assert [m.id for m in loaded.maps.values()] == [m.id for m in machine.maps.values()]


def test_maps_have_their_types(machine: Machine) -> None:
    loaded = load_object(example("latency"), machine, name="latency")
    total = loaded.maps["total"]
    assert total.btf is loaded.spec.btf
    assert total.btf is not None
    assert total.btf.resolve(total.btf_value_type_id).name == "total"


def test_globals_start_as_compiled(machine: Machine) -> None:
    loaded = load_object(compile_c(SOURCES["data"]), machine, name="obj")
    assert loaded.maps["obj.data"].lookup(bytes(4)) == b"\5\0\0\0\3\0\0\0\7\0\0\0"
    assert loaded.maps["obj.bss"].lookup(bytes(4)) == bytes(16)
    rodata = loaded.maps["obj.rodata"]
    assert rodata.frozen
    with pytest.raises(KernelError) as caught:
        rodata.update(bytes(4), bytes(8))
    assert caught.value.errno == errno.EPERM
    loaded.maps["obj.data"].update(bytes(4), bytes(12))


def test_configuration(machine: Machine) -> None:
    spec = parse_object(compile_c(SOURCES["externs"]), "obj")
    kernel = KernelInfo(config={"CONFIG_BPF": "y", "CONFIG_DEFAULT_HOSTNAME": '"(none)"'}, version=7)
    kconfig = load_spec(spec, machine, kernel).maps["obj.kconfig"]
    assert kconfig.frozen
    assert kconfig.lookup(bytes(4)) == bytes(4) + b"\7\0\0\0" + b"\1" + b"(none)\0\0"


def test_configuration_of_the_model(machine: Machine) -> None:
    source = """
        extern int LINUX_KERNEL_VERSION __kconfig, CONFIG_HZ __kconfig;
        SEC("kprobe") int prog(void *ctx) { return LINUX_KERNEL_VERSION + CONFIG_HZ; }
    """
    loaded = load_object(compile_c(source), machine, name="obj")
    values = loaded.maps["obj.kconfig"].lookup(bytes(4))
    assert values == (250).to_bytes(4, "little") + kernel_version(6, 1).to_bytes(4, "little")


def test_missing_configuration(machine: Machine) -> None:
    source = (
        'extern int CONFIG_NO_SUCH __kconfig; SEC("kprobe") int prog(void *ctx) { return CONFIG_NO_SUCH; }'
    )
    with pytest.raises(LoadError, match="CONFIG_NO_SUCH") as caught:
        load_object(compile_c(source), machine)
    assert caught.value.errno == errno.ESRCH


def test_missing_symbol(machine: Machine) -> None:
    source = 'extern const void nope __ksym; SEC("kprobe") int prog(void *ctx) { return (long)&nope; }'
    with pytest.raises(KernelError, match="'nope' is not found") as caught:
        load_object(compile_c(source), machine)
    assert caught.value.errno == errno.ESRCH


def test_symbols_of_another_type(machine: Machine) -> None:
    source = """
        struct file { int f; };
        extern int vfs_read(int) __ksym %s;
        extern long vfs_read___other(struct file *, char *, unsigned long, long long *) __ksym __weak;
        SEC("?kprobe") int prog(void *ctx) { return vfs_read ? vfs_read(1) : 2; }
        SEC("?kprobe") int other(void *ctx) { return vfs_read___other ? 1 : 2; }
    """
    kernel = modelled_kernel(machine)
    strong, weak = parse_object(compile_c(source % "")), parse_object(compile_c(source % "__weak"))
    with pytest.raises(KernelError, match="'vfs_read': incompatible types") as caught:
        prog_spec(strong.progs["prog"], strong, [], kernel)
    assert caught.value.errno == errno.EINVAL
    assert kernel.btf is not None
    loads = [
        next(insn for insn in prog_spec(weak.progs[name], weak, [], kernel).insns if insn.code == LD_IMM64)
        for name in ("prog", "other")
    ]
    assert [insn.imm for insn in loads] == [0, kernel.btf.find("vfs_read", Kind.FUNC)]


def test_types_that_the_kernel_refuses_are_left_out(machine: Machine) -> None:
    source = """
        struct pair { __u32 a, b; };
        struct {
            __uint(type, BPF_MAP_TYPE_HASH);
            __uint(max_entries, 4);
            __uint(key_size, 4);
            __type(value, struct pair);
        } half SEC(".maps");
    """
    half = load_object(compile_c(source), machine).maps["half"]
    assert (half.key_size, half.value_size, half.btf, half.btf_value_type_id) == (4, 8, None, 0)


def test_symbol_of_the_model(machine: Machine) -> None:
    source = """
        extern const void vfs_read __ksym;
        SEC("kprobe") int prog(void *ctx) { return (long)&vfs_read >> 3; }
    """
    loaded = load_object(compile_c(source), machine)
    wide = loaded.progs["prog"].insns
    assert any(insn.imm & 0xFFFFFFFF == 0xFFFFFFFF for insn in wide)


def test_rejection_undoes_everything(machine: Machine) -> None:
    source = """
        struct {
            __uint(type, BPF_MAP_TYPE_HASH);
            __uint(max_entries, 4);
            __type(key, __u32);
            __type(value, __u64);
        } m SEC(".maps");
        SEC("kprobe/a") int good(void *ctx) { __u32 k = 1; return bpf_map_delete_elem(&m, &k); }
        SEC("kprobe/b") int wrong(void *ctx) { __u32 k = 1; return *(int *)bpf_map_lookup_elem(&m, &k); }
    """
    with pytest.raises(LoadError, match="prog 'wrong'") as caught:
        load_object(compile_c(source), machine)
    assert caught.value.errno == errno.EACCES
    assert "map_value_or_null" in caught.value.log
    assert not machine.maps.values()
    assert not machine.progs.values()


def test_refused_map_undoes_everything(machine: Machine) -> None:
    source = """
        struct { __uint(type, 2); __uint(max_entries, 4); __type(key, int); __type(value, int); } a
            SEC(".maps");
        struct { __uint(type, 2); __uint(max_entries, 0); __type(key, int); __type(value, int); } b
            SEC(".maps");
    """
    with pytest.raises(LoadError, match="map 'b'") as caught:
        load_object(compile_c(source), machine)
    assert caught.value.errno == errno.EINVAL
    assert not machine.maps.values()


def test_unknown_sections_load(machine: Machine) -> None:
    loaded = load_object(compile_c('SEC("what/ever") int prog(void *ctx) { return 0; }'), machine)
    assert loaded.sections == {"prog": "what/ever"}


def test_optional_programs_are_left_out(machine: Machine) -> None:
    source = (
        'SEC("?kprobe/a") int one(void *ctx) { return 0; } SEC("kprobe/b") int two(void *ctx) { return 0; }'
    )
    assert list(load_object(compile_c(source), machine).progs) == ["two"]


@pytest.mark.parametrize(
    ("definition", "entries", "name"),
    [
        (MapDef("events", MapType.PERF_EVENT_ARRAY, 4, 4), 6, "events"),
        (MapDef("ring", MapType.RINGBUF, max_entries=5000), 8192, "ring"),
        (MapDef("ring", MapType.RINGBUF, max_entries=1), 4096, "ring"),
        (MapDef("a_very_long_name_of_a_map", MapType.HASH, 4, 4, 5), 5, "a_very_long_nam"),
        (MapDef("rust::name", MapType.HASH, 4, 4, 5), 5, "rust__name"),
    ],
)
def test_what_depends_on_the_machine(definition: MapDef, entries: int, name: str) -> None:
    made = map_spec(ObjectSpec(), definition, KernelInfo(nr_cpus=6))
    assert (made.max_entries, made.name) == (entries, name)


def test_unknown_map_type() -> None:
    with pytest.raises(LoadError, match="unknown map type 999"):
        map_spec(ObjectSpec(), MapDef("m", 999), KernelInfo())


def test_spin_locks_are_found() -> None:
    source = """
        struct bpf_spin_lock { __u32 val; };
        struct value { __u64 a; struct bpf_spin_lock lock; };
        struct {
            __uint(type, 1);
            __uint(max_entries, 4);
            __type(key, int);
            __type(value, struct value);
        } m SEC(".maps");
    """
    spec = parse_object(compile_c(source))
    assert map_spec(spec, spec.maps["m"], KernelInfo()).lock_off == 8


PINNED = """
    struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __uint(max_entries, 4);
        __type(key, __u32);
        __type(value, __u64);
        __uint(pinning, LIBBPF_PIN_BY_NAME);
    } shared SEC(".maps");
    SEC("kprobe/a") int prog(void *ctx) { __u32 k = 1; return bpf_map_delete_elem(&shared, &k); }
"""


def test_maps_are_shared_by_name(machine: Machine) -> None:
    data = compile_c(PINNED)
    first = load_object(data, machine)
    second = load_object(data, machine, pinned=first.maps.get)
    assert second.maps["shared"] is first.maps["shared"]
    assert len(machine.maps.values()) == 1
    third = load_object(data, machine, pinned=lambda name: None)
    assert third.maps["shared"] is not first.maps["shared"]


def test_shared_maps_must_fit(machine: Machine) -> None:
    first = load_object(compile_c(PINNED), machine)
    other = compile_c(PINNED.replace("__uint(max_entries, 4)", "__uint(max_entries, 5)"))
    with pytest.raises(LoadError, match="parameter mismatch"):
        load_object(other, machine, pinned=first.maps.get)
    assert machine.maps.values() == [first.maps["shared"]]


def test_maps_of_maps_are_filled(machine: Machine) -> None:
    loaded = load_object(compile_c(SOURCES["map_in_map"]), machine)
    outer = loaded.maps["outer"]
    for index, name in ((1, "in1"), (3, "in2")):
        assert int.from_bytes(outer.lookup(index.to_bytes(4, "little")), "little") == loaded.maps[name].id


def test_program_arrays_are_filled(machine: Machine) -> None:
    loaded = load_object(compile_c(SOURCES["prog_array"]), machine)
    slot = loaded.maps["progs"].lookup((2).to_bytes(4, "little"))
    assert int.from_bytes(slot, "little") == loaded.progs["callee"].id
