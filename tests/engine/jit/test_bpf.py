"""Programs with maps, helpers, callbacks and tail calls: the same result from interpreter and native code."""

import ctypes
import errno
from collections.abc import Callable, Iterator

import pytest

from engine.abi.bpf import MapCreateFlag, MapType
from engine.abi.ctx import SkBuff
from engine.env import Env, peek64, poke32, poke64
from engine.helpers import HELPERS
from engine.interp import Fault, Interpreter, Memory
from engine.jit.bpf import compile_bpf, module_text
from engine.jit.bpf_unit import Unit
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.maps.header import MapHdr
from engine.maygoto import MAY_GOTO_TURNS
from engine.memory import kernel_ptr
from engine.verifier import PtrClass, Verified
from tests.engine.trusted import interpret, run_native, trusted

Engine = Callable[[Verified, int, int], int]
_U64 = (1 << 64) - 1


@pytest.fixture(params=[interpret, run_native], ids=["interpreter", "native"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.param
    return found


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    made = Machine(nr_cpus=4)
    yield made
    made.close()


@pytest.fixture(scope="module")
def env(machine: Machine) -> int:
    return machine.new_env()


def a_map(machine: Machine, kind: MapType, value_size: int = 8, entries: int = 8) -> Map:
    return create_map(MapSpec(kind, 4, value_size, entries, name="m"), machine)


def word(value: int) -> bytes:
    return value.to_bytes(8, "little")


def key(value: int) -> bytes:
    return value.to_bytes(4, "little")


_LOOKUP = """
    *(u32 *)(r10 -4) = {key}
    r2 = r10
    r2 += -4
    r1 = map_fd[0]
    call bpf_map_lookup_elem
    if r0 != 0 goto found
    r0 = -1
    exit
found: r0 = *(u64 *)(r0 +0)
    exit
"""


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.ARRAY, MapType.LRU_HASH])
def test_lookup(machine: Machine, env: int, engine: Engine, kind: MapType) -> None:
    used = a_map(machine, kind)
    used.update(key(3), word(77))
    assert engine(trusted(_LOOKUP.format(key=3), [used]), 0, env) == 77
    assert engine(trusted(_LOOKUP.format(key=8), [used]), 0, env) == _U64


@pytest.mark.parametrize(("index", "expected"), [(3, 77), (7, 0), (8, _U64)])
def test_lookup_of_a_constant_index(
    machine: Machine, env: int, engine: Engine, index: int, expected: int
) -> None:
    used = a_map(machine, MapType.ARRAY)
    used.update(key(3), word(77))
    program = trusted(_LOOKUP.format(key=index), [used], keys={5: index})
    assert engine(program, 0, env) == expected


@pytest.mark.parametrize("kind", [MapType.PERCPU_ARRAY, MapType.PERCPU_HASH])
def test_each_cpu_has_its_own_value(machine: Machine, env: int, engine: Engine, kind: MapType) -> None:
    used = a_map(machine, kind)
    used.update(key(5), b"".join(word(100 + cpu) for cpu in range(4)))
    for cpu in range(4):
        poke32(env + Env.CPU, cpu)
        assert engine(trusted(_LOOKUP.format(key=5), [used]), 0, env) == 100 + cpu
    poke32(env + Env.CPU, 0)


_UPDATE = """
    *(u32 *)(r10 -4) = 6
    *(u64 *)(r10 -16) = 5
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = {flags}
    r1 = map_fd[0]
    call bpf_map_update_elem
    exit
"""


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.ARRAY])
def test_update(machine: Machine, env: int, engine: Engine, kind: MapType) -> None:
    used = a_map(machine, kind)
    assert engine(trusted(_UPDATE.format(flags=0), [used]), 0, env) == 0
    assert used.lookup(key(6)) == word(5)
    assert engine(trusted(_UPDATE.format(flags=1), [used]), 0, env) == -errno.EEXIST & _U64
    assert engine(trusted(_UPDATE.format(flags=99), [used]), 0, env) == -errno.EINVAL & _U64


def test_update_leaves_a_spin_lock_alone(machine: Machine, env: int, engine: Engine) -> None:
    used = create_map(MapSpec(MapType.HASH, 4, 8, 4, name="m", lock_off=4), machine)
    assert engine(trusted(_UPDATE.format(flags=0), [used]), 0, env) == 0
    assert used.lookup(key(6)) == word(5)


def test_delete(machine: Machine, env: int, engine: Engine) -> None:
    used = a_map(machine, MapType.HASH)
    used.update(key(6), word(1))
    text = "*(u32 *)(r10 -4) = 6\nr2 = r10\nr2 += -4\nr1 = map_fd[0]\ncall bpf_map_delete_elem\nexit"
    assert engine(trusted(text, [used]), 0, env) == 0
    assert engine(trusted(text, [used]), 0, env) == -errno.ENOENT & _U64


def test_map_values_by_address(machine: Machine, env: int, engine: Engine) -> None:
    used = a_map(machine, MapType.ARRAY, value_size=64, entries=1)
    text = """
        r1 = map_value[0][0]+16
        r2 = 40
        lock *(u64 *)(r1 +0) += r2
        r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)
        *(u8 *)(r1 +8) = 255
        r0 = *(s8 *)(r1 +8)
        exit
    """
    assert engine(trusted(text, [used]), 0, env) == _U64
    value = used.lookup(key(0))
    assert (value[16:24], value[24]) == (word(80), 255)


_LOOP = """
    r6 = 0
    *(u64 *)(r10 -8) = r6
    r1 = {times}
    r2 = func[body]
    r3 = r10
    r3 += -8
    r4 = {flags}
    call bpf_loop
    r1 = *(u64 *)(r10 -8)
    r0 <<= 32
    r0 |= r1
    exit
body: r3 = *(u64 *)(r2 +0)
    r3 += r1
    *(u64 *)(r2 +0) = r3
    r0 = 0
    if r1 != {stop} goto out
    r0 = 1
out: exit
"""


@pytest.mark.parametrize(
    ("times", "stop", "calls", "total"), [(10, -1, 10, 45), (10, 4, 5, 10), (0, -1, 0, 0), (1, 0, 1, 0)]
)
def test_loop(env: int, engine: Engine, times: int, stop: int, calls: int, total: int) -> None:
    text = _LOOP.format(times=times, flags=0, stop=stop)
    assert engine(trusted(text), 0, env) == calls << 32 | total


@pytest.mark.parametrize(("times", "flags", "error"), [(1, 1, errno.EINVAL), (1 << 24, 0, errno.E2BIG)])
def test_loop_that_is_refused(env: int, engine: Engine, times: int, flags: int, error: int) -> None:
    text = _LOOP.format(times=times, flags=flags, stop=-1).replace("r0 <<= 32", "r0 += 0")
    assert engine(trusted(text), 0, env) == -error & _U64


@pytest.mark.parametrize("kind", [MapType.HASH, MapType.ARRAY])
def test_callback_for_each_element(machine: Machine, env: int, engine: Engine, kind: MapType) -> None:
    used = a_map(machine, kind, entries=4)
    for number in range(4):
        used.update(key(number), word(10 + number))
    text = """
        r6 = 0
        *(u64 *)(r10 -8) = r6
        r1 = map_fd[0]
        r2 = func[body]
        r3 = r10
        r3 += -8
        r4 = 0
        call bpf_for_each_map_elem
        r1 = *(u64 *)(r10 -8)
        r0 <<= 32
        r0 |= r1
        exit
    body: r5 = *(u32 *)(r2 +0)
        r3 = *(u64 *)(r3 +0)
        r3 += r5
        r2 = *(u64 *)(r4 +0)
        r2 += r3
        *(u64 *)(r4 +0) = r2
        r0 = 0
        exit
    """
    assert engine(trusted(text, [used]), 0, env) == 4 << 32 | 52


_TAIL = """
    r6 = r1
    r3 = *(u64 *)(r6 +0)
    r3 += 1
    *(u64 *)(r6 +0) = r3
    r2 = map_fd[0]
    r3 = {slot}
    call bpf_tail_call
    r0 = *(u64 *)(r6 +0)
    exit
"""


def header(machine: Machine, used: Map, slot: int, verified: Verified) -> tuple[int, object]:
    """Put a program into a slot of an array laid out as a program array."""
    code = compile_bpf(verified, HELPERS, cached=False)
    address = machine.heap.alloc(64)
    poke64(address, code.address)
    poke64(peek64(used.address + MapHdr.DATA) + 8 * slot, address)
    return address, code


@pytest.mark.parametrize(("slot", "runs"), [(0, 34), (1, 1), (9, 1)])
def test_tail_calls_are_limited(machine: Machine, env: int, engine: Engine, slot: int, runs: int) -> None:
    used = a_map(machine, MapType.ARRAY)
    program = trusted(_TAIL.format(slot=slot), [used])
    _, code = header(machine, used, 0, program)
    counter = ctypes.c_uint64(0)
    poke64(env + Env.TAIL_CALLS, 0)
    assert engine(program, ctypes.addressof(counter), env) == runs
    poke64(env + Env.TAIL_CALLS, 0)
    assert code


def test_tail_call_in_a_subprogram_returns_to_its_caller(machine: Machine, env: int, engine: Engine) -> None:
    used = a_map(machine, MapType.ARRAY)
    _, code = header(machine, used, 0, trusted("r0 = 5\nexit"))
    text = """
        call f
        r0 += 100
        exit
    f:  r2 = map_fd[0]
        r3 = 0
        call bpf_tail_call
        r0 = 1
        exit
    """
    assert engine(trusted(text, [used]), 0, env) == 105
    assert code
    poke64(env + Env.TAIL_CALLS, 0)


def test_interpreted_tail_call_stays_interpreted(machine: Machine, env: int) -> None:
    used = a_map(machine, MapType.ARRAY)
    target = trusted("r0 = 6\nexit")
    address, code = header(machine, used, 0, target)
    steps: list[int] = []
    callee = Interpreter(target, HELPERS, trace=lambda pc, insn, regs: steps.append(pc))
    program = trusted(_TAIL.format(slot=0), [used])
    counter = ctypes.c_uint64(0)
    caller = Interpreter(program, HELPERS, programs={address: callee})
    assert caller.run(ctypes.addressof(counter), env) == 6
    assert steps == [0, 1]
    poke64(env + Env.TAIL_CALLS, 0)
    assert code


def test_loads_of_kernel_objects_that_may_be_wild(machine: Machine, env: int, engine: Engine) -> None:
    at = machine.arena.address + 512
    poke64(at, 0x1122334455667788)
    text = "r1 = 0x{:x}\nr0 = *(u16 *)(r1 +2)\nexit"
    last = machine.arena.address + machine.arena.size
    expected = {
        kernel_ptr(at): 0x5566,
        kernel_ptr(machine.arena.address) - 4: 0,
        kernel_ptr(last) - 3: 0,
        kernel_ptr(last) - 4: 0,
        0: 0,
        _U64 - 1: 0,
        at: 0,
    }
    for address, value in expected.items():
        program = trusted(text.format(address), pointers={2: PtrClass.BTF})
        assert engine(program, 0, env) == value, hex(address)


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        ("r0 = *(u8 *)skb[1]", 0x22),
        ("r0 = *(u16 *)skb[1]", 0x2233),
        ("r0 = *(u32 *)skb[0]", 0x11223344),
        ("r0 = *(u16 *)skb[r7 + 2]", 0x4455),
        ("r0 = *(u8 *)skb[4]", 0x55),
        ("r0 = *(u16 *)skb[4]", 0),
        ("r0 = *(u8 *)skb[-1]", 0),
        ("r0 = *(u8 *)skb[5]", 0),
    ],
)
def test_packet_loads(env: int, engine: Engine, load: str, expected: int) -> None:
    packet = ctypes.create_string_buffer(bytes.fromhex("1122334455"), 5)
    context = ctypes.create_string_buffer(SkBuff.NATIVE_SIZE)
    start = ctypes.addressof(packet)
    poke64(ctypes.addressof(context) + SkBuff.NATIVE_DATA, start)
    poke64(ctypes.addressof(context) + SkBuff.NATIVE_DATA_END, start + 5)
    program = trusted(f"r6 = r1\nr7 = 1\n{load}\nexit")
    assert engine(program, ctypes.addressof(context), env) == expected


def test_helpers_across_modules(env: int, engine: Engine) -> None:
    poke32(env + Env.TID, 42)
    poke32(env + Env.TGID, 41)
    program = trusted("call bpf_get_current_pid_tgid\nexit")
    assert engine(program, 0, env) == 41 << 32 | 42


def test_the_interpreter_checks_accesses(env: int) -> None:
    memory = Memory()
    buffer = ctypes.create_string_buffer(8)
    memory.allow(ctypes.addressof(buffer), 8, writable=False)
    good = trusted("r0 = *(u64 *)(r1 +0)\nexit")
    beyond = trusted("r0 = *(u64 *)(r1 +1)\nexit")
    write = trusted("*(u8 *)(r1 +0) = 1\nexit")
    stack = trusted("r0 = *(u64 *)(r10 +0)\nexit")
    address = ctypes.addressof(buffer)
    assert Interpreter(good, {}, memory=memory).run(address, env) == 0
    for program in (beyond, write, stack):
        with pytest.raises(Fault, match=r"insn 0: (load from|store to)"):
            Interpreter(program, {}, memory=memory).run(address, env)


def test_may_goto_ends_endless_loops(env: int) -> None:
    program = trusted("r0 = 0\ntop: r0 += 1\nmay_goto pc+1\ngoto top\nexit")
    turns = run_native(program, 0, env)
    assert turns % MAY_GOTO_TURNS == 1
    assert turns > 2 * MAY_GOTO_TURNS
    assert Interpreter(program, {}).run(0, env) % MAY_GOTO_TURNS == 1


def test_the_time_of_may_goto_is_one_for_all_loops_of_a_call(env: int) -> None:
    """When the first loop took it all, the second one is left at once; the next call has its own."""
    loops = "r0 = 0\na: may_goto b\ngoto a\nb: r0 += 1\nmay_goto out\ngoto b\nout: exit"
    assert run_native(trusted(loops), 0, env) == 1
    short = "r6 = 0\nr7 = 0\ntop: r6 += 1\nmay_goto out\nif r6 < 100000 goto top\nout: r0 = r6\nexit"
    assert run_native(trusted(short), 0, env) == 100000


def test_loads_from_a_map_that_cannot_change_are_constants(
    machine: Machine, env: int, engine: Engine
) -> None:
    flags = MapCreateFlag.RDONLY_PROG
    used = create_map(MapSpec(MapType.ARRAY, 4, 16, 1, flags, "m"), machine)
    used.update(key(0), bytes(range(240, 256)))
    used.freeze()
    text = "r1 = map_value[0][0]+4\nr0 = *({} *)(r1 {:+d})\nexit"
    expected = {
        ("u8", 3): 247,
        ("s8", 3): -9 & _U64,
        ("u64", 4): int.from_bytes(range(248, 256), "little"),
        ("s32", -4): int.from_bytes(range(240, 244), "little", signed=True) & _U64,
    }
    for (size, offset), value in expected.items():
        program = trusted(text.format(size, offset), [used])
        assert engine(program, 0, env) == value
        assert ", align 1\n" not in module_text(Unit(program, HELPERS))


def test_maps_like_a_template_are_not_taken_for_it(machine: Machine) -> None:
    template, other = (a_map(machine, MapType.ARRAY) for _ in range(2))
    outer = create_map(MapSpec(MapType.ARRAY_OF_MAPS, 4, 4, 1, name="o", inner=template), machine)
    text = "r2 = r10\nr2 += -4\nr1 = map_fd[0]\ncall bpf_map_lookup_elem\nexit"
    assert Unit(trusted(text, [template]), HELPERS).call_map(4) is template
    assert Unit(trusted(text, [template, outer]), HELPERS).call_map(4) is None
    assert Unit(trusted(text, [other, outer]), HELPERS).call_map(4) is other


@pytest.mark.parametrize("first", ["r7 = 5", "r0 = 5", "r7 = r1"])
def test_what_an_exit_leaves_behind_is_not_in_the_next_block(env: int, engine: Engine, first: str) -> None:
    text = f"r6 = 1\nif r1 > 0x5 goto more\n{first}\nr0 = 3\nexit\n"
    text += "more: if r1 > 0x7 goto out\nr6 = 2\nout: r0 = r6\nexit"
    assert [engine(trusted(text), value, env) for value in (5, 6, 8)] == [3, 2, 1]


def test_dead_branches_are_left_out(env: int) -> None:
    program = trusted("if r1 == 0x5 goto dead\nr0 = 1\nexit\ndead: r0 = 2\nexit")
    program.aux[3].seen = program.aux[4].seen = False
    assert run_native(program, 5, env) == 1


def test_code_is_named_by_all_it_depends_on(machine: Machine) -> None:
    small, large = a_map(machine, MapType.ARRAY), a_map(machine, MapType.ARRAY, entries=9)
    text = _LOOKUP.format(key=1)
    keys = {
        Unit(trusted(text, [small]), HELPERS).key(),
        Unit(trusted(text, [large]), HELPERS).key(),
        Unit(trusted(text.replace("-1", "-2"), [small]), HELPERS).key(),
        Unit(trusted(text, [small], keys={5: 1}), HELPERS).key(),
    }
    assert len(keys) == 4
    twin = a_map(machine, MapType.ARRAY)
    assert Unit(trusted(text, [twin]), HELPERS).key() in keys
