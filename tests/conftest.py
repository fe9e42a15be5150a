"""For all tests: what they start dies of SIGINT and SIGQUIT, however the runner itself was started.

A shell without job control starts background commands with both ignored, and that is inherited.
"""

import signal

for _number, _handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)
