"""Models as ONNX files, for which torch is not needed: the same outputs."""

import json
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import fastclf
from fastclf import ImageLinearClassifier
from fastclf.io.interchange import to_onnx

from ..helpers import in_new_process
from .models import MODELS, TOLERANCE, C, P, every_model, outputs, samples

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def session(path):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


@every_model
def test_onnxruntime_gives_the_models_outputs(name, dtype, tmp_path):
    model = MODELS[name](dtype)
    model.to_onnx(tmp_path / "model")
    runner, is_image = session(tmp_path / "model"), isinstance(model, ImageLinearClassifier)
    assert [i.name for i in runner.get_inputs()] == ["X"]
    assert [o.name for o in runner.get_outputs()] == ["scores" if is_image else "probabilities"]
    for m in (1, 2, 3, 64, 1000):
        X = samples(model, dtype, m)
        [got] = runner.run(None, {"X": X})
        assert got.dtype == dtype
        np.testing.assert_allclose(got, outputs(model, X), rtol=0, atol=TOLERANCE)


def test_an_onnx_file(tmp_path, capfd, recwarn):
    model = MODELS["estimator"](np.float32)
    (tmp_path / "model").write_bytes(b"old")
    before = warnings.filters[:]
    recwarn.clear()
    model.to_onnx(str(tmp_path / "model"), logits=True)
    assert not recwarn.list, "the exporter is silent"
    assert capfd.readouterr() == ("", "")
    assert warnings.filters == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    proto = onnx.load(tmp_path / "model")
    onnx.checker.check_model(proto)
    assert [node.op_type for node in proto.graph.node] == ["Gemm", "Relu", "Gemm", "Relu", "Gemm"]
    assert proto.graph.output[0].name == "scores"
    assert json.loads({p.key: p.value for p in proto.metadata_props}["classes"]) == ["ant", "bee", "cat"]
    text = (tmp_path / "model").read_bytes()
    assert str(Path(fastclf.__file__).parents[1]).encode() not in text, "nothing of the exporting machine's folders"


def test_what_train_model_returned(dtype, tmp_path):
    theta, losses = fastclf.train_model(P.X, np.eye(C)[P.labels], 0.1, 3, True, True, dtype=dtype, verbose=False)
    to_onnx((theta, losses), tmp_path / "model")
    [got] = session(tmp_path / "model").run(None, {"X": P.X.astype(dtype)})
    expected = fastclf.softmax(fastclf.linear_prediction(fastclf.add_bias_term(P.X), theta))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE)


def exports_without_torch(path):
    import sys

    sys.modules["torch"] = sys.modules["onnxscript"] = None  # importing them fails
    import fastclf

    fastclf.MLPClassifier(4, 3, 2, random_state=0).to_onnx(path)


def test_an_export_needs_onnx_alone(tmp_path):
    in_new_process(exports_without_torch, str(tmp_path / "model"))
    assert [i.shape for i in session(tmp_path / "model").get_inputs()] == [["batch", 4]]


def test_an_export_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "model").write_bytes(b"old")

    def failing(*args, **how):
        raise RuntimeError("no export today")

    monkeypatch.setattr(onnx.helper, "make_model", failing)
    with pytest.raises(RuntimeError, match="no export today"):
        MODELS["image"](np.float64).to_onnx(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == b"old"
