"""Every kernel for processors that this one is not: narrower vectors, fewer registers, no fused multiply-add."""

import platform
from pathlib import Path

import pytest
from llvmlite import binding as llvm

from .helpers import in_new_process

CAN_RUN = {
    "haswell": {"avx2", "fma", "bmi", "bmi2", "f16c", "lzcnt", "movbe"},
    "generic": set(),
}


def everything_agrees(tests, target):
    """One step of every kernel against the reference, in both dtypes."""
    import sys

    sys.path.insert(0, tests)
    import numpy as np
    from helpers import DTYPES, ONE_STEP, assert_close, problem, reference_steps, trainer

    import fastclf
    from fastclf import _inputs, reference
    from fastclf.kernels.target import TARGET

    assert TARGET.name == target

    def linear_models(dtype):
        lanes = TARGET.lanes(dtype.itemsize)
        for kind, n, c in (("narrow", 7, min(4, lanes)), ("narrow", 7, lanes), ("wide", 37, 7)):
            for sigmoid in (False, True):
                p = problem(21, n, c, dtype, sigmoid)
                for batch in (True, False):
                    losses, theta = reference_steps(p.X, p.targets, p.theta, 0.5, sigmoid=sigmoid, batch=batch)
                    model = trainer(kind, p.X, p.theta, targets=p.targets, sigmoid=sigmoid)
                    got = model.descend(0.5, 1) if batch else model.sgd(0.5, 1)
                    assert_close(ONE_STEP[dtype], loss=(got, losses), theta=(model.theta(), theta))

    def network(dtype):
        for m in (21, 70):
            p = problem(m, 37, 7, dtype)
            ours, labs = fastclf.DeepMLPClassifier(37, 11, 7, dtype=dtype), reference.DeepMLPClassifier(37, 11, 7)
            for name, shape in (("W1", (11, 37)), ("W3", (11, 11)), ("W2", (7, 11))):
                setattr(ours, name, np.random.randn(*shape) / np.sqrt(shape[1]))
                setattr(labs, name, getattr(ours, name).astype(np.float64))
            loss = ours.train([(p.X, p.labels)], 1, 0.5, verbose=False), labs.train([(p.X, p.labels)], 1, 0.5)
            names = ("W1", "b1", "W3", "b3", "W2", "b2")
            pairs = {name: (getattr(ours, name), getattr(labs, name)) for name in names}
            assert_close(ONE_STEP[dtype], loss=loss, **pairs)

    def check(dtype):
        X = np.ones(70_000, dtype)
        _inputs.check_finite(X, "X")
        X[-1] = np.nan
        try:
            _inputs.check_finite(X, "X")
        except ValueError:
            return
        raise AssertionError

    for dtype in DTYPES:
        linear_models(dtype)
        network(dtype)
        check(dtype)


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="these are x86 processors")
@pytest.mark.parametrize(("cpu", "target"), [("haswell", "AVX2"), ("generic", "SSE2")])
def test_another_processor(cpu, target, tmp_path):
    features = llvm.get_host_cpu_features()
    if missing := sorted(f for f in CAN_RUN[cpu] if not features.get(f)):
        pytest.skip(f"this processor has no {missing}")
    folder = str(Path(__file__).parent)
    environment = {"NUMBA_CPU_NAME": cpu, "FASTCLF_CACHE_DIR": tmp_path, "NUMBA_NUM_THREADS": 1}
    in_new_process(everything_agrees, folder, target, **environment, timeout=280)
