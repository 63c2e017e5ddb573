"""Memory that is free within the process, handed back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Hand back what glibc keeps of freed memory for later; other allocators see to that themselves.

    The reading of a large pool frees so much in small pieces that a worker would hold hundreds of megabytes for good.
    """
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
