"""How many files are spoiled, and how long a reader may take."""

import os
import signal
from contextlib import contextmanager

import pytest

#: Spoiled files of each kind; `make fuzz` asks for many more, and for others each time.
EXAMPLES = int(os.environ.get("MULTICOPY_FUZZ", "25"))
#: No reader may take longer over a small file, in seconds.
LONGEST = 60


@contextmanager
def in_time():
    """Fail where the block does not end."""

    def stop(*_):
        pytest.fail(f"no end within {LONGEST} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
