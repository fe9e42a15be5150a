"""The fixtures of the tests of probes: a machine, a recorder, a synthetic thread."""

from tests.engine.probes.conftest import machine, recorder, thread

__all__ = ["machine", "recorder", "thread"]
