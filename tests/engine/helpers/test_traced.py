"""engine.helpers.traced: arguments and result of a traced call, and who may ask for them."""

import ctypes
import errno

from engine.abi.bpf import AttachType, ProgType
from engine.helpers import HELPERS
from engine.helpers.traced import get_func_arg, get_func_arg_cnt, get_func_ret


def test_arguments_and_result() -> None:
    words = (ctypes.c_uint64 * 5)(3, 10, 20, 30, 2**64 - 5)
    ctx, out = ctypes.addressof(words) + 8, ctypes.c_uint64()
    assert get_func_arg_cnt(0, ctx) == 3
    for i, wanted in enumerate((10, 20, 30)):
        assert get_func_arg(0, ctx, i, ctypes.addressof(out)) == 0
        assert out.value == wanted
    for number in (3, 2**31, 2**32 - 1):
        assert get_func_arg(0, ctx, number, ctypes.addressof(out)) == -errno.EINVAL
    assert get_func_arg(0, ctx, 1 << 32, ctypes.addressof(out)) == 0
    assert get_func_ret(0, ctx, ctypes.addressof(out)) == 0
    assert out.value == 2**64 - 5


def test_only_programs_on_calls_may_ask() -> None:
    for helper in (get_func_arg, get_func_arg_cnt, get_func_ret):
        (proto,) = [h.proto for h in HELPERS.values() if h.native is helper]
        assert proto.progs == {ProgType.TRACING}
        assert proto.attach is not None
        assert AttachType.TRACE_RAW_TP not in proto.attach
        assert (AttachType.TRACE_FENTRY in proto.attach) == (helper is not get_func_ret)
