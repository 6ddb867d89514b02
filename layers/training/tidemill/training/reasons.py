"""Why a job ended that nobody foresaw, in words that somebody can act on."""

from __future__ import annotations

import errno

from tidemill.core.registry import Item

BUG_REASON = {"code": "TRAINING_BUG", "message": "The training code failed.", "remedy": "Read the run's log."}
FULL_REASON = {
    "code": "DISK_FULL",
    "message": "The disk of the job's machine is full.",
    "remedy": "Send a sample, or give the job definition a larger volume.",
}
MEMORY_REASON = {
    "code": "OUT_OF_MEMORY",
    "message": "The job needs more memory than its machine has.",
    "remedy": "Send a sample, or give the job definition more memory.",
}
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def why(error: Exception) -> Item:
    """The reason of an end that nobody foresaw."""
    if isinstance(error, MemoryError):
        return MEMORY_REASON
    return FULL_REASON if isinstance(error, OSError) and error.errno in FULL else BUG_REASON
