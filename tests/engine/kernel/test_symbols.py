"""engine.kernel.symbols and functions: addresses fixed, sorted, disjoint; names, aliases, prototypes."""

from itertools import pairwise

import pytest

from engine.abi.syscalls import SYSCALLS
from engine.kernel.functions import ALIASES, FUNCTIONS, symbol_table
from engine.kernel.symbols import TEXT_BASE, TEXT_END, Symbol, SymbolTable

TABLE = symbol_table()


def test_functions_do_not_overlap() -> None:
    spans = sorted({(s.address, s.address + s.size) for s in TABLE})
    assert all(high <= low for (_, high), (low, _) in pairwise(spans))
    assert spans[0][0] == TEXT_BASE
    assert spans[-1][1] < TEXT_END


def test_addresses_are_the_same_in_every_run() -> None:
    assert [(s.name, s.address) for s in symbol_table()] == [(s.name, s.address) for s in TABLE]
    at = {name: TABLE.lookup(name) for name in ("vfs_read", "do_sys_openat2", "__x64_sys_openat")}
    assert [hex(s.address) for s in at.values() if s] == [
        "0xffffffff813669e0",
        "0xffffffff81363fa0",
        "0xffffffff81364630",
    ]


def test_resolve() -> None:
    assert TABLE.resolve(0xFFFFFFFF8136469A) == ("__x64_sys_openat", 0x6A, 0xA0)
    symbol = TABLE.lookup("vfs_open")
    assert symbol is not None
    assert TABLE.resolve(symbol.address + symbol.size - 1) == ("vfs_open", 0x2F, 0x30)
    assert TABLE.resolve(TEXT_BASE - 1) is None
    assert TABLE.resolve(TEXT_END) is None
    assert TABLE.resolve(0) is None


def test_alias_resolves_to_the_functions_own_name() -> None:
    for alias, name in ALIASES.items():
        one, other = TABLE.lookup(alias), TABLE.lookup(name)
        assert one is not None and other is not None
        assert one.address == other.address
        assert TABLE.resolve(one.address) == (name, 0, other.size)


def test_every_system_call_can_be_named_as_the_header_names_it() -> None:
    for row in SYSCALLS.values():
        symbol = TABLE.lookup(f"__x64_sys_{row.name}")
        assert (symbol is not None) == row.exists
        assert symbol is None or TABLE.resolve(symbol.address) == (row.function, 0, symbol.size)


def test_two_symbols_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="called a"):
        SymbolTable([Symbol("a", 16, 16), Symbol("a", 32, 16)])


def test_every_system_call_has_a_function() -> None:
    for row in SYSCALLS.values():
        assert row.function in FUNCTIONS
    assert FUNCTIONS["do_sys_openat2"].prototype == (
        "long do_sys_openat2(int dfd, const char *filename, struct open_how *how)"
    )
    assert FUNCTIONS["ksys_sync"].prototype == "void ksys_sync(void)"
    assert FUNCTIONS["do_filp_open"].returns == "struct file *"
