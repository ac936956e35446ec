"""Vector width and number of registers of the target, read once, before anything is compiled.

Every size in the kernels (lanes of a vector, rows and columns of a register tile) follows from the instruction set, and so
does the machine code: it is for the set's baseline, with the features beyond it that are named here. The set is that of
the host, unless ``NUMBA_CPU_NAME`` names another processor.
"""

from __future__ import annotations

import platform
from typing import NamedTuple

import llvmlite.binding as llvm
from numba.core import config

L2_BYTES_PER_CYCLE = 32  # of recent processors, or somewhat more


class Packing(NamedTuple):
    """How ``matmul.outer`` packs (copies) columns of B, so that a tile's rows lie side by side in the L1 cache."""

    depth: int  # rows of B packed at a time; partial sums are set aside in between
    columns: int  # columns of tiles packed together, because each row of B is on another page of memory
    least: int  # minimum depth (rows of B) at which packing pays
    across: int  # below this depth, walk tiles row by row, because the traffic on C dominates


class Target(NamedTuple):
    """The properties of an instruction set that the kernels depend on."""

    name: str  # the vector instruction set
    vector_bytes: int  # bytes in one vector register
    registers: int  # vector registers
    units: int = 2  # multiply-adds of whole vectors per cycle
    multiplies_pairs: bool = False  # whether an instruction multiplies pairs of bfloat16 and adds up their products
    baseline: str = "generic"  # the processor, by LLVM's name, that has what every processor of the set has
    features: str = ""  # what to use, or not, beyond the baseline

    @property
    def features_for_pairs(self) -> str:
        """``features``, and the instruction that multiplies pairs of bfloat16."""
        return ",".join(filter(None, (self.features, "+avx512bf16" if self.multiplies_pairs else "")))

    @property
    def dot_tile(self) -> tuple[int, int]:
        """Rows and columns of sums that the ``dot`` tile holds in registers. There are always four columns."""
        return (6, 4) if self.registers >= 32 else (3, 4)

    @property
    def dot_few(self) -> int:
        """Rows of the smaller ``dot`` tile, for the rows that the larger one leaves over."""
        return 4 if self.registers >= 32 else 2

    @property
    def outer_tile(self) -> tuple[int, int]:
        """Rows, and vectors per row, of sums that the ``outer`` tile holds in registers."""
        return (5, 4) if self.registers >= 32 else (5, 2)

    @property
    def outruns_l2(self) -> bool:
        """Whether ``dot`` tiles take more bytes per cycle than the L2 cache delivers, if none comes from the L1 cache."""
        rows, units = self.dot_tile
        return (rows + units) / (rows * units) * self.units * self.vector_bytes > L2_BYTES_PER_CYCLE

    @property
    def packing(self) -> Packing:
        """Measured with AVX-512 (1 MB of L2 cache) and with AVX2 (512 KB). The other targets use the values for AVX2."""
        if self.vector_bytes == 64:
            return Packing(depth=1 << 30, columns=1, least=256, across=64)
        return Packing(depth=128, columns=4, least=16, across=16)

    def lanes(self, itemsize: int) -> int:
        """Elements of ``itemsize`` bytes in one vector."""
        return self.vector_bytes // itemsize


AVX512 = Target("AVX-512", 64, 32, baseline="x86-64-v4", features="-prefer-256-bit")
AVX2 = Target("AVX2", 32, 16, baseline="x86-64-v3")
SSE2 = Target("SSE2", 16, 16, baseline="x86-64")
NEON = Target("NEON", 16, 32)

# What processors of the baselines have, by LLVM's names. A virtual machine may hide some of it.
_V3 = "avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe"
_V4 = "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"

# Processors with the instruction for pairs of bfloat16, by their names.
_BFLOAT16_NAMES = "cooperlake", "sapphirerapids", "emeraldrapids", "graniterapids", "znver4", "znver5"

# Processors that take two cycles for a multiply-add of 64 bytes, or have one unit for it.
_ONE_UNIT = "znver4", "icelake-client", "tigerlake", "rocketlake", "cannonlake"

# Processor names for NUMBA_CPU_NAME, by instruction set, because LLVM does not list the features of a named processor.
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
                return _of_processor(target, config.CPU_NAME, config.CPU_NAME.startswith(_BFLOAT16_NAMES))
        return SSE2
    features = llvm.get_host_cpu_features()
    if not all(features.get(f) for f in _V3):
        return SSE2
    if not all(features.get(f) for f in _V4):
        return AVX2
    return _of_processor(AVX512, llvm.get_host_cpu_name(), bool(features.get("avx512bf16")))


def _of_processor(target: Target, name: str, multiplies_pairs: bool) -> Target:
    """The target as the processor ``name`` has it."""
    if target is not AVX512:
        return target
    return target._replace(units=1 if name in _ONE_UNIT else 2, multiplies_pairs=multiplies_pairs)


TARGET = detect()
