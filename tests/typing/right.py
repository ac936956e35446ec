"""Every public class and function, used as it is meant: checkers have nothing to say, and the functions below run."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

import fastclf
from fastclf import (
    Batches,
    DeepMLPClassifier,
    FastLinearClassifier,
    FastMLPClassifier,
    ImageLinearClassifier,
    MLPClassifier,
    RankError,
    TrainingDivergedWarning,
    TrainingInterruptedWarning,
    datasets,
    reference,
)
from fastclf.io import interchange
from fastclf.plots import DecisionBoundary, LossCurveDisplay, WeightTemplatesDisplay

if TYPE_CHECKING:
    from typing_extensions import assert_type
else:

    def assert_type(value, kind):
        return value


RNG = np.random.default_rng(0)
X, y = RNG.standard_normal((30, 4)), RNG.integers(0, 3, 30)
ONE_HOT = np.eye(3)[y]


def stop_early(epoch: int, loss: float, model: Any) -> bool:
    return epoch > 1 and loss < 1e-3


def functions() -> None:
    Xb = assert_type(fastclf.add_bias_term(X), NDArray[np.float64])
    theta = assert_type(fastclf.initialize_parameters(Xb, ONE_HOT, True, random_state=0), NDArray[Any])
    scores = assert_type(fastclf.linear_prediction(Xb, theta), NDArray[np.float64])
    p = assert_type(fastclf.softmax(scores), NDArray[np.float64])
    assert_type(fastclf.categorical_cross_entropy_loss(ONE_HOT, p), float)
    assert_type(fastclf.binary_cross_entropy_loss([[0.0], [1.0]], fastclf.sigmoid([[-1.0], [2.0]])), float)
    theta = fastclf.gradient_descent_step(Xb, ONE_HOT, p, theta, 0.1, True)
    theta = fastclf.stochastic_gradient_descent_step(Xb, ONE_HOT, theta, 0.1, multiclass=True)
    theta, losses = fastclf.train_model(
        X.tolist(), ONE_HOT, 0.1, 5, multiclass=True, dtype=np.float32, verbose=False, callback=stop_early, n_jobs=1
    )
    assert_type(losses, list[float])
    print(theta.shape, losses[-1] + 1, reference.softmax(scores).shape)


def lab(folder: Path) -> None:
    image = ImageLinearClassifier(4, 3, dtype="float32", random_state=np.random.default_rng(0))
    assert_type(fastclf.train(image, X, y, 3, 0.1, verbose=False, checkpoint=folder / "run"), list[float])
    assert_type(image.predict(X), NDArray[Any])
    assert_type(image.compute_loss(X, y), float)
    image.gradient_descent(X, y, learning_rate=0.01)
    image.W = image.W + 0.5 * assert_type(image.b, NDArray[Any])

    mlp = MLPClassifier(4, 5, 3, scale=1 / 255)
    assert_type(mlp.train(X.T, y, epochs=3, verbose=False, callback=stop_early), list[float])
    assert_type(mlp.compute_loss(mlp.forward(X.T), y), float)
    mlp.backward(X.T, y, 0.1)
    assert_type(mlp.relu(assert_type(mlp.Z1, NDArray[Any])), NDArray[Any])
    mlp.W1 -= 0.1 * assert_type(mlp.W1, NDArray[Any])
    mlp.b1 = [[0.0]] * 5
    mlp.save(folder / "mlp")

    deep = DeepMLPClassifier(4, 5, 3, dtype="bfloat16", n_jobs=None)
    loader = Batches(X, y, 10, shuffle="blocks", drop_last=True, random_state=0)
    how = timedelta(minutes=1)
    deep.train(loader, 3, clip_threshold=0.5, verbose=False, checkpoint=str(folder / "deep"), checkpoint_every=how)
    for batch, labels in loader:
        deep.train([(batch, labels)], epochs=1, verbose=False)
    assert_type(deep.best_loss, float)
    assert_type(deep.losses_, list[float])
    print(len(loader), deep.A3.mean(), deep.W3.shape, loader.order().dtype, repr(deep))

    assert_type(fastclf.load(folder / "mlp", MLPClassifier), MLPClassifier)
    print(fastclf.load(str(folder / "mlp")).W1.shape)
    fastclf.save((np.zeros((5, 3)), [1.0, 0.5]), folder / "theta")
    theta, losses = fastclf.load(folder / "theta", kind=tuple)
    fastclf.show_versions()
    print(theta, losses, issubclass(TrainingDivergedWarning, UserWarning), TrainingInterruptedWarning.__name__)
    print(issubclass(RankError, RuntimeError))


def estimators(folder: Path) -> None:
    linear = FastLinearClassifier(penalty=None, max_iter=3, tol=None, shuffle="blocks", random_state=0)
    assert_type(linear.fit(X, y, sample_weight=np.ones(30), checkpoint=folder / "linear"), FastLinearClassifier)
    assert_type(linear.fit(sparse.csr_matrix(X), y).predict(X), NDArray[Any])
    assert_type(linear.partial_fit(X, y, classes=[0, 1, 2]).predict_proba(X), NDArray[Any])
    assert_type(linear.decision_function(X), NDArray[Any])
    assert_type(linear.predict_log_proba(X), NDArray[Any])
    linear.save(folder / "model")
    assert_type(fastclf.load(folder / "model", FastLinearClassifier), FastLinearClassifier)

    mlp = FastMLPClassifier((5, 4), max_iter=3, learning_rate="step", random_state=0, n_jobs=2)
    assert_type(mlp.fit(X, y, X_val=X, y_val=y, resume=False), FastMLPClassifier)
    assert_type(mlp.partial_fit(X.tolist(), y.tolist()).predict(X), NDArray[Any])
    assert_type(mlp.predict_proba(X), NDArray[Any])
    assert_type(mlp.predict_log_proba(X), NDArray[Any])
    assert_type(mlp.n_iter_, int)
    print(mlp.classes_.tolist(), mlp.loss_curve_[0] + 1, mlp.score(X, y), mlp.get_params()["alpha"])


def data_and_plots() -> None:
    from matplotlib.figure import Figure

    digits = datasets.read("digits", split="test")
    print(digits.X.shape, digits.class_names, digits.scale)
    model = FastLinearClassifier(max_iter=2, random_state=0).fit(X[:, :2], y)
    assert_type(DecisionBoundary.from_estimator(model, X[:, :2], y, ax=Figure().subplots()), DecisionBoundary)
    assert_type(LossCurveDisplay.from_losses({"one": [1.0, 0.5]}, ax=Figure().subplots()), LossCurveDisplay)
    axes = Figure().subplots(1, 3)
    assert_type(WeightTemplatesDisplay.from_theta(np.ones((5, 3)), (2, 2), ax=axes), WeightTemplatesDisplay)


def with_onnx(folder: Path) -> None:
    ImageLinearClassifier(4, 3).to_onnx(folder / "onnx", logits=True)
    interchange.to_onnx((np.zeros((5, 3)), [1.0]), folder / "onnx")


def with_torch() -> None:
    from torch import nn, tensor
    from torch.utils.data import DataLoader, TensorDataset

    module = nn.Sequential(nn.Linear(4, 3).double())
    assert_type(ImageLinearClassifier.from_torch(module, n_jobs=1), ImageLinearClassifier)
    assert_type(FastLinearClassifier.from_torch(module, classes=["a", "b", "c"]), FastLinearClassifier)
    print(MLPClassifier(4, 3, 2).to_torch(logits=True), interchange.to_torch((np.zeros((5, 3)), [1.0])))
    part = fastclf.subsample_dataset(TensorDataset(tensor(X), tensor(y)), 20, random_state=0)
    DeepMLPClassifier(4, 5, 3).train(DataLoader(part, batch_size=10), 1, verbose=False)
