"""Files that version 0.1.0 has saved, before the package was laid out anew: they load, predict and train on.

``saved/expected.json`` has the outputs of that version, on another machine: sums may have been added in another order.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import fastclf
from fastclf import DeepMLPClassifier, FastLinearClassifier, FastMLPClassifier

SAVED = Path(__file__).with_name("saved")
EXPECTED = json.loads((SAVED / "expected.json").read_text())
PROBE = np.array(EXPECTED["probe"])


def load(name, kind):
    model = fastclf.load(SAVED / f"{name}.safetensors")
    assert type(model) is kind
    return model


def test_a_network_of_the_lab():
    model = load("deep_mlp", DeepMLPClassifier)
    assert repr(model).endswith("dtype=float32, trained)")  # the file does not say
    assert (model.n_jobs, model.scale, model.best_loss) == (1, 0.5, EXPECTED["deep_mlp"]["best_loss"])
    outputs = model.forward(PROBE.astype(np.float32).T).T
    np.testing.assert_allclose(outputs, EXPECTED["deep_mlp"]["outputs"], rtol=1e-5)


def test_a_linear_model_with_an_average_names_and_a_generator():
    model = load("linear", FastLinearClassifier)
    frame = pd.DataFrame(PROBE, columns=list("abcd"))
    assert model.t_ == EXPECTED["linear"]["t_"]
    assert model.classes_.tolist() == ["blue", "green", "red"]
    np.testing.assert_allclose(model.predict_proba(frame), EXPECTED["linear"]["outputs"], rtol=1e-10)
    assert model.partial_fit(frame, ["blue"] * 5).t_ == model.t_ > EXPECTED["linear"]["t_"]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_perceptron_goes_on_with_its_optimiser():
    model = load("mlp", FastMLPClassifier)
    assert model.t_ == EXPECTED["mlp"]["t_"]
    np.testing.assert_allclose(model.predict_proba(PROBE), EXPECTED["mlp"]["outputs"], rtol=1e-10)
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((60, 4)), rng.integers(0, 3, 60)
    model.set_params(early_stopping=False, class_weight=None).partial_fit(X, y)
    np.testing.assert_allclose(model.predict_proba(PROBE), EXPECTED["mlp"]["outputs after another epoch"], rtol=1e-9)
