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
    """One step of every kernel against the reference, in every dtype."""
    import sys

    sys.path.insert(0, tests)
    import warnings

    import numpy as np
    from scipy import sparse
    from sklearn.datasets import load_digits
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    warnings.simplefilter("ignore")
    from helpers import (
        DTYPES,
        IN_BFLOAT16,
        ONE_STEP,
        assert_close,
        bfloat16_step,
        problem,
        reference_steps,
        trainer,
    )

    import fastclf
    from fastclf import inputs, reference
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
        for m in (21, 70, 300):
            p = problem(m, 37, 7, dtype)
            ours, labs = fastclf.DeepMLPClassifier(37, 11, 7, dtype=dtype), reference.DeepMLPClassifier(37, 11, 7)
            for name, shape in (("W1", (11, 37)), ("W3", (11, 11)), ("W2", (7, 11))):
                setattr(ours, name, np.random.randn(*shape) / np.sqrt(shape[1]))
                setattr(labs, name, getattr(ours, name).astype(np.float64))
            loss = ours.train([(p.X, p.labels)], 1, 0.5, verbose=False), labs.train([(p.X, p.labels)], 1, 0.5)
            names = ("W1", "b1", "W3", "b3", "W2", "b2")
            pairs = {name: (getattr(ours, name), getattr(labs, name)) for name in names}
            assert_close(ONE_STEP[dtype], loss=loss, **pairs)

    def estimators(dtype):
        X, y = (a[:600] for a in load_digits(return_X_y=True))
        X, limit = (X / 16).astype(dtype), 1e-10 if dtype == np.float64 else 1e-3
        for how in ({}, {"solver": "sgd"}, {"solver": "sgd", "nesterovs_momentum": False}):
            ours, theirs = (
                kind(max_iter=1, random_state=0, **how) for kind in (fastclf.FastMLPClassifier, MLPClassifier)
            )
            assert np.abs(ours.fit(X, y).coefs_[0] - theirs.fit(X, y).coefs_[0]).max() < limit
        raw = (X * 16).astype(np.uint8)
        in_bytes, in_numbers = (fastclf.FastMLPClassifier(max_iter=1, random_state=0, scale=1.0) for _ in range(2))
        same = in_bytes.fit(raw, y).coefs_[0] - in_numbers.fit(raw.astype(np.float32), y).coefs_[0]
        assert np.abs(same).max() < 1e-5
        how = {"max_iter": 2, "tol": None, "shuffle": False, "learning_rate": "constant", "eta0": 0.01}
        for data in (X, sparse.csr_matrix(X)):
            for penalty in (None, "l2", "l1"):
                for average in (False,) if penalty == "l1" else (False, True):
                    ours = fastclf.FastLinearClassifier(batch_size=1, penalty=penalty, average=average, **how)
                    theirs = SGDClassifier(loss="log_loss", penalty=penalty, average=average, **how)
                    assert np.abs(ours.fit(data, y > 4).coef_ - theirs.fit(data, y > 4).coef_).max() < limit
        models = [
            fastclf.FastLinearClassifier(batch_size=1, average=2, **how).fit(data, y)
            for data in (X, sparse.csr_matrix(X))
        ]
        assert models[0].score(X, y) > 0.8
        assert models[1].score(X, y) > 0.8

    def check(dtype):
        X = np.ones(70_000, dtype)
        inputs.check_finite(X, "X")
        X[-1] = np.nan
        try:
            inputs.check_finite(X, "X")
        except ValueError:
            return
        raise AssertionError

    def in_bfloat16():
        for m in (21, 70, 301):
            p = problem(m, 37, 7, np.float32)
            model = fastclf.MLPClassifier(37, 11, 7, dtype="bfloat16", random_state=0)
            model.W1, model.W2 = 20 * model.W1, 20 * model.W2
            start = [model.W1.copy(), model.W2.copy()]
            biases = [model.b1[:, 0].copy(), model.b2[:, 0].copy()]
            loss, weights, biases = bfloat16_step(start, biases, p.X, p.labels, 0.5)
            got = model.train(p.X.T, p.labels, 1, 0.5, verbose=False)
            moves = {
                "W1": (model.W1 - start[0], weights[0] - start[0]),
                "W2": (model.W2 - start[1], weights[1] - start[1]),
            }
            assert_close(IN_BFLOAT16, loss=(got[0], loss), b1=(model.b1[:, 0], biases[0]), **moves)

    in_bfloat16()
    for dtype in DTYPES:
        linear_models(dtype)
        network(dtype)
        estimators(dtype)
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
