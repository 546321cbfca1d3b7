"""What the process's allocator does with memory that is free again.

A call of a megabyte is some five buffers of a megabyte. As it comes, glibc gives each back to
the system and has it anew for the next call, page by page: that was two fifths of what such a
call cost.
"""

import ctypes

#: ``malloc.h``
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
#: Longer buffers than this are the system's own, and go back to it at once.
_LONGEST_KEPT = 4 * 1024 * 1024
#: What may be free at the heap's end for the next calls.
_MOST_KEPT = 32 * 1024 * 1024


def keep_buffers() -> None:
    """Have the allocator keep some memory for the next calls, where it is glibc's."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, _LONGEST_KEPT)
        mallopt(_TRIM_THRESHOLD, _MOST_KEPT)
