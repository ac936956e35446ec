"""The instruction set is read from the host, or from the name that Numba is told to compile for."""

import platform

import pytest
from llvmlite import binding as llvm
from numba.core import config

from fastclf.kernels import target
from fastclf.kernels.target import AVX2, AVX512, NEON, SSE2

BFLOAT16 = AVX512._replace(multiplies_pairs=True)
BFLOAT16_ONE_UNIT = BFLOAT16._replace(units=1)
TARGETS = [AVX512, BFLOAT16, BFLOAT16_ONE_UNIT, AVX2, SSE2, NEON]


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be on a machine with these features, told to compile for this processor."""

    def pretend(name="x86_64", cpu=None, features=(), host="generic"):
        monkeypatch.setattr(platform, "machine", lambda: name)
        monkeypatch.setattr(config, "CPU_NAME", cpu)
        monkeypatch.setattr(llvm, "get_host_cpu_name", lambda: host)
        monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: dict.fromkeys(features, True))

    return pretend


FULL_AVX2 = ("avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe")
FULL_AVX512 = (*FULL_AVX2, "avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd")


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        (FULL_AVX512, AVX512),
        ((*FULL_AVX512, "avx512bf16"), BFLOAT16),
        ((*FULL_AVX2, "avx512bf16"), AVX2),
        ((*FULL_AVX2, "avx512f"), AVX2),  # Xeon Phi's half of AVX-512 is not enough
        (FULL_AVX2, AVX2),
        (("avx2", "fma"), SSE2),  # a virtual machine that hides the rest, which the compiler would use
        (FULL_AVX512[1:], SSE2),
        (("avx2",), SSE2),
        (("avx", "fma"), SSE2),
        ((), SSE2),
    ],
)
def test_features_of_the_host(machine, features, expected):
    machine(features=features)
    assert target.detect() == expected


@pytest.mark.parametrize(
    ("cpu", "expected"),
    [
        ("host", AVX512),
        ("skylake-avx512", AVX512),
        ("icelake-client", AVX512._replace(units=1)),
        ("sapphirerapids", BFLOAT16),
        ("znver4", BFLOAT16_ONE_UNIT),
        ("znver5", BFLOAT16),
        ("skylake", AVX2),
        ("haswell", AVX2),
        ("znver3", AVX2),
        ("x86-64-v3", AVX2),
        ("x86-64", SSE2),
        ("generic", SSE2),
    ],
)
def test_a_named_processor_is_taken_for_the_host(machine, cpu, expected):
    machine(cpu=cpu, features=FULL_AVX512)
    assert target.detect() == expected


@pytest.mark.parametrize(("host", "expected"), [("znver4", BFLOAT16_ONE_UNIT), ("sapphirerapids", BFLOAT16)])
def test_the_host_may_have_one_unit_of_512_bits(machine, host, expected):
    machine(features=(*FULL_AVX512, "avx512bf16"), host=host)
    assert target.detect() == expected


@pytest.mark.parametrize("name", ["arm64", "aarch64", "AARCH64"])
def test_arm(machine, name):
    machine(name)
    assert target.detect() is NEON


@pytest.mark.parametrize("t", TARGETS, ids=lambda t: t.name)
def test_tiles_fit_into_the_registers(t):
    """Sums, one operand of each row and one of the other side, all at once: else the compiler spills them."""
    rows, units = t.dot_tile
    assert rows * units + rows + 1 <= t.registers
    rows, vectors = t.outer_tile
    assert rows * vectors + vectors + 1 <= t.registers


@pytest.mark.parametrize("t", TARGETS, ids=lambda t: t.name)
def test_lanes(t):
    assert t.lanes(4) == 2 * t.lanes(8)
    assert t.lanes(8) * 8 == t.vector_bytes


def test_the_target_of_this_process():
    assert target.detect() == target.TARGET
