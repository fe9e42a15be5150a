"""Programs with pointers, through the verifier: interpreter (checked), native code and kernel must agree."""

import ctypes
import os
import struct

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings

from engine.abi.bpf import Cmd, MapType, ProgType
from engine.abi.ctx import SkBuff
from engine.env import poke32, poke64
from engine.helpers import HELPERS
from engine.interp import Interpreter, Memory
from engine.isa import Insn, assemble, encode
from engine.machine import Machine
from engine.maps import Map, MapSpec, create_map
from engine.progspec import ProgSpec
from engine.verifier import Verified, VerifierError, verify
from tests import kernel_oracle
from tests.engine.pointers import VALUE_SIZE, pointer_programs
from tests.engine.trusted import run_native

_PACKET = bytes(range(60))
_KEY = bytes(4)
_START = bytes((7 * i) & 0xFF for i in range(VALUE_SIZE))


@pytest.fixture(scope="module")
def machine() -> Machine:
    return Machine()


def context() -> ctypes.Array[ctypes.c_char]:
    """A `struct __sk_buff` as the kernel's test run makes it: only its length matters here."""
    made = ctypes.create_string_buffer(SkBuff.NATIVE_SIZE)
    poke32(ctypes.addressof(made) + SkBuff.LEN, len(_PACKET) - 14)
    poke64(ctypes.addressof(made) + SkBuff.NATIVE_DATA, 0)
    return made


def fresh_map(machine: Machine) -> Map:
    made = create_map(MapSpec(MapType.ARRAY, 4, VALUE_SIZE, 1), machine)
    made.update(_KEY, _START)
    return made


def verified(text: str, used: Map) -> Verified:
    return verify(ProgSpec(ProgType.SOCKET_FILTER, assemble(text), license="GPL", maps={0: used}))


def interpreted(text: str, machine: Machine, env: int) -> tuple[int, bytes]:
    """(r0, map value afterwards); Fault where an access leaves map value, context and stack."""
    used, skb, memory = fresh_map(machine), context(), Memory()
    memory.allow(ctypes.addressof(skb), SkBuff.NATIVE_SIZE)
    assert used.region is not None
    memory.allow(used.region.address, VALUE_SIZE)
    result = Interpreter(verified(text, used), HELPERS, memory=memory).run(ctypes.addressof(skb), env)
    return result, used.lookup(_KEY)


def compiled(text: str, machine: Machine, env: int) -> tuple[int, bytes]:
    """The same of native code."""
    used, skb = fresh_map(machine), context()
    return run_native(verified(text, used), ctypes.addressof(skb), env), used.lookup(_KEY)


def kernel_element(cmd: Cmd, fd: int, value: ctypes.Array[ctypes.c_char]) -> None:
    """Look up or update element 0 of a kernel map."""
    key = ctypes.create_string_buffer(_KEY, len(_KEY))
    attr = struct.pack("<I4xQQQ", fd, ctypes.addressof(key), ctypes.addressof(value), 0)
    assert kernel_oracle.bpf(cmd, attr) == 0


def kernels(text: str) -> tuple[int, bytes]:
    """The same of the machine's kernel."""
    value = ctypes.create_string_buffer(_START, VALUE_SIZE)
    with kernel_oracle.open_map(MapType.ARRAY, 4, VALUE_SIZE, 1) as fd:
        kernel_element(Cmd.MAP_UPDATE_ELEM, fd, value)
        insns = [Insn(i.code, i.dst, i.src, i.off, fd) if i.code == 0x18 else i for i in assemble(text)]
        verdict = kernel_oracle.load(encode(insns), keep=True)
        assume(verdict.accepted)
        try:
            error, result, _, _ = kernel_oracle.test_run(verdict.fd, _PACKET)
        finally:
            os.close(verdict.fd)
        kernel_element(Cmd.MAP_LOOKUP_ELEM, fd, value)
    assert error == 0
    return result, value.raw


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=pointer_programs())
def test_engines_agree(machine: Machine, text: str) -> None:
    env = machine.new_env()
    try:
        try:
            expected = interpreted(text, machine, env)
        except VerifierError:
            reject()
        assert compiled(text, machine, env) == expected, text
    finally:
        machine.free_env(env)
    if not kernel_oracle.kernel_unavailable():
        assert kernels(text) == expected, text
