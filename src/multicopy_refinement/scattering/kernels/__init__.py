"""Compiled inner loops (numba), cached on disk; they release the interpreter's lock.

Each call works on a part that it owns (a range of reflections or atoms, a slab of a grid), so that
threads share nothing that is written and results do not depend on their number or timing.

Long loops over arrays have unsigned indices: an index that could be negative, which Python counts
from the end, would keep the compiler from using vector instructions.
"""
