"""Machine code is for an instruction set: one cache serves all processors of a set, and Numba's own target is as it was."""

import platform

import pytest
from llvmlite import binding as llvm

from ..helpers import in_new_process

x86 = pytest.mark.skipif(platform.machine().lower() not in ("x86_64", "amd64"), reason="the names are those of x86")
HAS = llvm.get_host_cpu_features()
#: Processors of each instruction set that this one can run code of.
SETS = {"SSE2": ("generic", "core2", "nehalem")}
if HAS.get("avx2"):
    SETS["AVX2"] = "haswell", "broadwell", "skylake", "znver1", "x86-64-v3"
if HAS.get("avx512vl"):
    SETS["AVX-512"] = "skylake-avx512", "cascadelake", "icelake-client", "x86-64-v4"


def train(name, folder):
    from pathlib import Path

    import numpy as np

    import fastclf
    from fastclf.kernels.target import TARGET

    assert TARGET.name == name
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 37)), rng.integers(0, 3, 300)
    theta, _ = fastclf.train_model(X, np.eye(3)[y], 0.1, 5, multiclass=True, random_state=0, verbose=False)
    model = fastclf.FastMLPClassifier((17,), max_iter=2, random_state=0).fit(X.astype(np.float32), y)
    np.savez(Path(folder) / "parameters.npz", theta, *model.coefs_, *model.intercepts_)


@x86
@pytest.mark.parametrize("name", SETS)
def test_a_cache_serves_every_processor_of_a_set(name, tmp_path):
    def run(processor):
        done = in_new_process(
            train, name, str(tmp_path), FASTCLF_CACHE_DIR=tmp_path / "cache", NUMBA_CPU_NAME=processor,
            NUMBA_CPU_FEATURES="",
        )  # fmt: skip
        return "compiling" in done.stderr, (tmp_path / "parameters.npz").read_bytes()

    first, *others = SETS[name]
    has_compiled, bits = run(first)
    assert has_compiled
    kept = sorted((tmp_path / "cache").rglob("*.nbc"))
    for processor in others:
        assert run(processor) == (False, bits), processor
    assert sorted((tmp_path / "cache").rglob("*.nbc")) == kept


def beside_numbas_own():
    import numba
    import numpy as np
    from numba.core.registry import cpu_target

    from fastclf.inputs import check_finite

    before = numba.njit(lambda x: x + 1)
    assert before(1) == 2
    check_finite(np.ones(70_000), "X")
    own = cpu_target.target_context.codegen()
    name, features = own._get_host_cpu_name(), own._get_host_cpu_features()

    from llvmlite import binding

    from fastclf.kernels import check
    from fastclf.kernels.codegen import instruction_set
    from fastclf.kernels.target import TARGET

    assert (name, features) == (binding.get_host_cpu_name(), numba.core.codegen.get_host_cpu_features())
    ours = check.all_finite._ready[np.dtype(np.float64)]
    assert ours.targetctx.codegen() is instruction_set(False).target_context.codegen() is not own
    assert ours.targetctx.codegen().magic_tuple()[1:] == (TARGET.baseline, TARGET.features)
    after = numba.njit(lambda x: x + 1)
    assert after(1) == 2
    assert before.overloads[(numba.int64,)].codegen is after.overloads[(numba.int64,)].codegen is own


def test_numbas_own_target_is_left_alone():
    in_new_process(beside_numbas_own)


@pytest.mark.parametrize("pairs", [False, True])
def test_the_instruction_for_pairs_is_for_pairs_alone(pairs, monkeypatch):
    from fastclf.kernels import codegen, target

    monkeypatch.setattr(codegen, "TARGET", target.AVX512._replace(multiplies_pairs=True))
    codegen.instruction_set.cache_clear()
    try:
        features = codegen.instruction_set(pairs).target_context.codegen().magic_tuple()[2]
    finally:
        codegen.instruction_set.cache_clear()
    assert ("+avx512bf16" in features) == pairs
