"""The sizes of the processor's caches, as the system reports them. Free of Numba."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

_USUAL = {1: 32 * 1024, 2: 512 * 1024}  # bytes: what a processor has at least that reports nothing
_SYSCTL = {1: "hw.l1dcachesize", 2: "hw.l2cachesize"}


@functools.cache
def cache_bytes(level: int) -> int:
    """Bytes in one core's data cache of level 1 or 2."""
    try:
        if sys.platform == "linux":
            return _in_sysfs(Path("/sys/devices/system/cpu/cpu0/cache"), level)
        if sys.platform == "darwin":
            found = subprocess.run(["sysctl", "-n", _SYSCTL[level]], capture_output=True, check=True, timeout=5)
            return int(found.stdout)
    except (OSError, ValueError, LookupError, subprocess.SubprocessError):
        pass
    return _USUAL[level]


def _in_sysfs(folder: Path, level: int) -> int:
    for cache in sorted(folder.glob("index*")):
        kind = (cache / "type").read_text().strip()
        if int((cache / "level").read_text()) == level and kind in ("Data", "Unified"):
            size = (cache / "size").read_text().strip()
            return int(size[:-1]) * {"K": 1024, "M": 1024**2}[size[-1]]
    raise LookupError(level)
