"""Type information that kernels do not take as it is."""

from engine.btf.build import BtfBuilder
from engine.btf.types import Composite, Encoding, Member, Typedef
from engine.loader.usable import usable_btf


def test_good_btf_stays_itself() -> None:
    b = BtfBuilder()
    b.struct("s", 4, [Member("a", b.integer("int", 4, Encoding.SIGNED), 0)])
    btf = b.build()
    assert usable_btf(btf) is btf


def test_names_of_other_languages() -> None:
    b = BtfBuilder()
    number = b.integer("u32", 4)
    struct_id = b.struct("Option<(u32, &str)>", 8, [Member("0", number, 0), Member("a::b", number, 32)])
    enum = b.enum("core::result::Result<u32>", {"Ok{0}": 0})
    var = b.var("{{closure}}", number)
    func = b.func("f::<u32>", b.func_proto(0, []))
    btf = usable_btf(b.build())
    assert btf is not None
    assert [btf.type(i).name for i in (struct_id, enum, var, func)] == [
        "Option__u32___str__",
        "core__result__Result_u32_",
        "__closure__",
        "f___u32_",
    ]
    struct = btf.types[struct_id]
    assert isinstance(struct, Composite)
    assert [member.name for member in struct.members] == ["_0", "a__b"]


def test_broken_btf_is_left_out() -> None:
    b = BtfBuilder()
    b.add(Typedef("a", 2))
    b.add(Typedef("b", 1))
    assert usable_btf(b.build()) is None
