"""`python -m engine.vm`: the convention of conformance suites, refusals, accesses outside of memory."""

import io
import subprocess
import sys

import pytest

from engine.isa import assemble, encode
from engine.vm import main

_LENGTH = "r0 = r2\nexit"
_SWAP = "r0 = *(u32 *)(r1 +0)\nr0 = be32 r0\n*(u8 *)(r1 +1) = 7\nr3 = *(u8 *)(r1 +1)\nr0 += r3\nexit"


@pytest.fixture(params=["--interpret", "--jit"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def run(
    engine: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> "Run":  # fmt: skip
    return Run(engine, monkeypatch, capfd)


class Run:
    """The command in this process: (status, standard output, standard error)."""

    def __init__(self, engine: str, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._engine, self._patch, self._capture = engine, patch, capture

    def __call__(self, text: str, *memory: str, program_hex: str | None = None) -> tuple[int, str, str]:
        source = encode(assemble(text)).hex(" ") if program_hex is None else program_hex
        self._patch.setattr(sys, "stdin", io.StringIO(source))
        status = main([self._engine, *memory])
        out, err = self._capture.readouterr()
        return status, out, err


def test_memory_and_its_length(run: Run) -> None:
    assert run(_LENGTH, "0011223344")[:2] == (0, "5\n")
    assert run(_SWAP, "01 02 03 04")[:2] == (0, "102030b\n")


def test_without_memory_both_registers_are_zero(run: Run) -> None:
    assert run("r0 = r1\nr0 |= r2\nr0 |= 1\nexit")[:2] == (0, "1\n")


def test_result_is_64_bits_unsigned(run: Run) -> None:
    assert run("r0 = -1\nexit")[:2] == (0, "ffffffffffffffff\n")


def test_hex_may_be_spaced_and_prefixed(run: Run) -> None:
    spaced = "0xb7 0x00 0x00 0x00\n0x2a 0x00 0x00 0x00, 9500000000000000\n"
    assert run("", program_hex=spaced)[:2] == (0, "2a\n")


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("", "no instructions"),
        ("b7", "not a whole number of instructions"),
        ("zz", "non-hexadecimal"),
        ("b700000001000000", "runs past its end"),
        ("ff00000000000000 9500000000000000", "unknown opcode ff"),
        ("b700010001000000 9500000000000000", "reserved field OFF"),
        ("b70b000001000000 9500000000000000", "no such register"),
        ("b70a000001000000 9500000000000000", "frame pointer is read only"),
        ("0500050000000000 9500000000000000", "jump to 6"),
        ("1800000001000000 9500000000000000", "LD_IMM64"),
        ("6700000040000000 9500000000000000", "invalid shift 64"),
        ("8500000001000000 9500000000000000", "there is no function 1"),
        ("1811000001000000 0000000000000000 9500000000000000", "there are no maps"),
        ("8d00000000000000 9500000000000000", "callx is not allowed"),
        ("db01000077000000 9500000000000000", "no atomic operation 0x77"),
        ("d400000008000000 9500000000000000", "no byte swap of 8 bits"),
        ("0500010000000000 1800000001000000 0000000000000000 9500000000000000", "jump to 2"),
    ],
)
def test_refusals_say_why(run: Run, program: str, reason: str) -> None:
    status, out, err = run("", program_hex=program)
    assert (status, out) == (1, "")
    assert reason in err


def test_leaving_the_memory_is_an_error_not_a_crash(run: Run) -> None:
    status, out, err = run("r0 = *(u64 *)(r1 +0)\n*(u64 *)(r1 +0) = 1\nexit")
    assert (status, out) == (1, "")
    assert "EFAULT" in err


def test_interpreter_checks_each_byte() -> None:
    program = encode(assemble("r0 = *(u16 *)(r1 +3)\nexit")).hex()
    command = [sys.executable, "-m", "engine.vm", "--interpret", "00000000"]
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "load from" in done.stderr
    assert "2 bytes" in done.stderr
