"""What the machine offers: vector width and registers, read once, before anything is compiled.

Every size in the kernels (lanes of a vector, rows and columns of a register tile) follows from the instruction set
that Numba is going to compile for. That is the host's, unless ``NUMBA_CPU_NAME`` names another one.
"""

from __future__ import annotations

import platform
from typing import NamedTuple

import llvmlite.binding as llvm
from numba.core import config


class Packing(NamedTuple):
    """How rows that are multiplied along their columns come into the first-level cache: copied, next to each other."""

    depth: int  # rows whose terms are added before other rows take their place
    columns: int  # of tiles, copied together: each row is another page of memory
    least: int  # rows; what fewer of them take from the caches is too little to be worth a copy
    across: int  # rows; with fewer, most of what is read is the result, and tiles follow it along its rows


class Target(NamedTuple):
    """An instruction set as the kernels see it."""

    name: str  # the vector instruction set
    vector_bytes: int  # bytes in one vector register
    registers: int  # vector registers

    @property
    def dot_tile(self) -> tuple[int, int]:
        """Rows and columns of sums held in registers by the tile along k; the columns are four, always."""
        return (6, 4) if self.registers >= 32 else (3, 4)

    @property
    def dot_few(self) -> int:
        """Rows of the smaller tile along k, for what the larger leaves over."""
        return 4 if self.registers >= 32 else 2

    @property
    def outer_tile(self) -> tuple[int, int]:
        """Rows and vectors of sums held in registers by the tile along rows."""
        return (5, 4) if self.registers >= 32 else (5, 2)

    @property
    def packing(self) -> Packing:
        """Measured with AVX-512 (1 MB of second-level cache) and with AVX2 (512 KB); the others follow the latter."""
        if self.vector_bytes == 64:
            return Packing(depth=1 << 30, columns=1, least=256, across=64)
        return Packing(depth=128, columns=4, least=16, across=16)

    def lanes(self, itemsize: int) -> int:
        """Elements of ``itemsize`` bytes in one vector."""
        return self.vector_bytes // itemsize


AVX512 = Target("AVX-512", 64, 32)
AVX2 = Target("AVX2", 32, 16)
SSE2 = Target("SSE2", 16, 16)
NEON = Target("NEON", 16, 32)

# Processors that NUMBA_CPU_NAME may name: LLVM does not list a named processor's features, so the names are kept here.
_AVX512_NAMES = ("skylake-avx512", "cascadelake", "cooperlake", "icelake", "tigerlake", "rocketlake",
                 "sapphirerapids", "emeraldrapids", "graniterapids", "znver4", "znver5", "x86-64-v4")  # fmt: skip
_AVX2_NAMES = ("haswell", "broadwell", "skylake", "alderlake", "raptorlake", "meteorlake", "znver", "x86-64-v3")


def detect() -> Target:
    """The target that Numba compiles for in this process."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return NEON
    if config.CPU_NAME and config.CPU_NAME != "host":
        for target, names in ((AVX512, _AVX512_NAMES), (AVX2, _AVX2_NAMES)):
            if config.CPU_NAME.startswith(names):
                return target
        return SSE2
    features = llvm.get_host_cpu_features()
    if all(features.get(f) for f in ("avx512f", "avx512dq", "avx512bw", "avx512vl")):
        return AVX512
    if features.get("avx2") and features.get("fma"):
        return AVX2
    return SSE2


TARGET = detect()
