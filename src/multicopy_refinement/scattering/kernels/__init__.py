"""Compiled inner loops (numba), cached on disk; they release the interpreter's lock.

Each call works on a part that it owns (a range of reflections or atoms, a slab of a grid), so that
threads share nothing that is written and results do not depend on their number or timing.

Loops over arrays run over slices from their first element: an index that could be negative, which
Python counts from the end, would keep the compiler from using vector instructions.
"""
