"""The arms of a workload: fastclf, the lab in plain NumPy, and the libraries that a user would pick instead.

All arms of a problem train the same model on the same data, from the same initial parameters, by the same update rule; equal
losses from ``Arm.loss`` confirm this. Building the arm of a library that is not installed raises ImportError.
"""

from __future__ import annotations

import dataclasses
import importlib
import math
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache, cached_property, partial
from pathlib import Path

import numpy as np

from fastclf import reference

Layers = Sequence[tuple[np.ndarray, np.ndarray]]  # weights (n_out, n_in) and bias (n_out,) of each layer

LEARNING_RATE = 0.01


@dataclasses.dataclass
class Problem:
    """The data, the model and the update rule that the arms share.

    The model is softmax regression, or a ReLU network if ``hidden`` is not empty. A step of gradient descent takes the whole
    batch, or one sample if ``per_sample``.
    """

    X: np.ndarray  # (m, n)
    y: np.ndarray  # (m,)
    n_classes: int
    hidden: tuple[int, ...] = ()
    per_sample: bool = False
    learning_rate: float = LEARNING_RATE

    @property
    def widths(self) -> tuple[int, ...]:
        return (self.X.shape[1], *self.hidden, self.n_classes)

    @property
    def steps(self) -> int:
        """Updates of the parameters in one pass over the data."""
        return len(self.X) if self.per_sample else 1

    @property
    def flops(self) -> int:
        """The fewest multiplications and additions of a batch step; no gradient with respect to the input is needed."""
        products = [a * b for a, b in zip(self.widths, self.widths[1:])]
        return len(self.X) * (6 * sum(products) - 2 * products[0])

    @cached_property
    def targets(self) -> np.ndarray:
        return np.eye(self.n_classes)[self.y]

    @cached_property
    def start(self) -> Layers:
        """The initial parameters of every arm; for a linear model, those that the lab draws after ``np.random.seed(0)``."""
        draw = np.random.RandomState(0).randn
        if not self.hidden:
            theta = 0.01 * draw(self.widths[0] + 1, self.widths[1])
            return [(theta[1:].T, theta[0])]
        return [(draw(b, a) / math.sqrt(a), np.zeros(b)) for a, b in zip(self.widths, self.widths[1:])]

    def loss(self, layers: Layers) -> float:
        """Mean cross-entropy on all the data, in float64."""
        A = self.X.astype(np.float64)
        for W, b in layers[:-1]:
            A = np.maximum(A @ np.asarray(W, np.float64).T + b, 0)
        W, b = layers[-1]
        return float(reference.categorical_cross_entropy_loss(self.targets, reference.softmax(A @ W.T + b)))


@dataclasses.dataclass
class Arm:
    """One way to do the work of a workload.

    ``train(passes)`` continues from the current parameters, or starts again. One pass counts as ``units`` of the workload's
    unit. A ``slow`` arm makes fewer passes. ``train`` of a ``gauge`` returns the figure itself, and is not timed.
    """

    train: Callable[[int], float | None]
    units: float = 1
    loss: Callable[[], float] | None = None
    slow: bool = False
    gauge: bool = False


def _theta(layers: Layers) -> np.ndarray:
    return np.vstack([layers[0][1], layers[0][0].T])


def _layers(theta: np.ndarray) -> Layers:
    return [(theta[1:].T, theta[0])]


# ---------------------------------------------------------------- fastclf and the reference, by the public names of both


def train_model(p: Problem, lab) -> Arm:
    quiet = {} if lab is reference else {"verbose": False, "dtype": p.X.dtype}
    theta = _theta(p.start)

    def train(passes):
        np.random.seed(0)
        theta[:], _ = lab.train_model(p.X, p.targets, p.learning_rate, passes, not p.per_sample, True, **quiet)

    return Arm(train, loss=lambda: p.loss(_layers(theta)))


def image_classifier(p: Problem, lab) -> Arm:
    (W, b), ours = p.start[0], lab is not reference
    model = lab.ImageLinearClassifier(*p.widths, **({"dtype": p.X.dtype} if ours else {}))
    model.W, model.b = W.copy(), b.reshape(-1, 1).copy()
    quiet = {"verbose": False} if ours else {}

    def train(passes):
        lab.train(model, p.X, p.y, passes, p.learning_rate, **quiet)

    return Arm(train, loss=lambda: p.loss([(model.W, model.b[:, 0])]), slow=not ours)


# ---------------------------------------------------------------- fastclf: the kernels on prepared arrays


def fastclf_linear(p: Problem) -> Arm:
    from fastclf.engine.descent import trainer_for
    from fastclf.engine.minibatch import Samples
    from fastclf.engine.rows import Rows

    trainer = trainer_for(Samples(Rows(p.X, p.X.dtype), p.y), p.n_classes)
    trainer.set_theta(_theta(p.start))

    def train(passes):
        if p.per_sample:
            trainer.sgd(p.learning_rate, passes, with_loss=False)
        else:
            trainer.descend(p.learning_rate, passes)

    return Arm(train, p.steps, lambda: p.loss(_layers(trainer.theta())))


def fastclf_network(p: Problem, threads: int | None = None, in_bfloat16: bool = False) -> Arm:
    """Steps on the whole batch. ``threads`` is n_jobs for steps of any size; None lets fastclf choose by the size."""
    from fastclf.engine import threads as threads_module
    from fastclf.engine.losses import EXACT, SHIFTED
    from fastclf.engine.minibatch import BatchTrainer, Samples, Workspace
    from fastclf.engine.network import Network
    from fastclf.engine.rows import Rows
    from fastclf.kernels.codes import TRAIN
    from fastclf.kernels.records import Settings

    model = Network(p.widths, p.X.dtype, in_bfloat16)
    for W, b, start in zip(model.weights, model.biases, p.start):
        W[:], b[:] = start
    work, samples = Workspace(model, len(p.X)), Samples(Rows(p.X, p.X.dtype), p.y)
    rule, clip = (SHIFTED, 1.0) if len(p.hidden) == 2 else (EXACT, math.inf)
    settings = Settings(*rule, p.learning_rate, clip)
    operations = model.step_operations(len(p.X))
    threads = threads_module.resolve_n_jobs(threads) if threads else threads_module.threads_for(operations, None)

    trainer = BatchTrainer(model, samples, settings, work, threads=threads)

    def train(passes):
        trainer.run(TRAIN, repeats=passes)

    return Arm(train, loss=lambda: p.loss(list(zip(model.weights, model.biases))))


# ---------------------------------------------------------------- the reference


def reference_sgd(p: Problem) -> Arm:
    X, theta = reference.add_bias_term(p.X), _theta(p.start)

    def train(passes):
        for _ in range(passes):
            theta[:] = reference.stochastic_gradient_descent_step(X, p.targets, theta, p.learning_rate, True)

    return Arm(train, p.steps, lambda: p.loss(_layers(theta)), slow=True)


def reference_network(p: Problem) -> Arm:
    deep = len(p.hidden) == 2
    kind = reference.DeepMLPClassifier if deep else reference.MLPClassifier
    model = kind(p.widths[0], p.hidden[0], p.n_classes)
    names = "132" if deep else "12"  # the lab's numbers of the layers, from the input to the output
    for name, (W, b) in zip(names, p.start):
        setattr(model, f"W{name}", W.copy())
        setattr(model, f"b{name}", b.reshape(-1, 1).copy())

    def train(passes):
        if deep:
            never = passes + 1
            model.train([(p.X, p.y)], passes, p.learning_rate, step_size=never, patience=never)
        else:
            model.train(p.X.T, p.y, passes, p.learning_rate)

    layers = lambda: [(getattr(model, f"W{name}"), getattr(model, f"b{name}")[:, 0]) for name in names]  # noqa: E731
    return Arm(train, loss=lambda: p.loss(layers()), slow=True)


# ---------------------------------------------------------------- peers


def torch_eager(p: Problem, in_bfloat16: bool = False) -> Arm:
    """torch.nn with torch.optim.SGD; torch.compile was no faster on these problems. ``in_bfloat16`` is by autocast."""
    import torch
    from torch import nn

    X, y = torch.from_numpy(p.X), torch.from_numpy(p.y)
    layers = [nn.Linear(a, b, dtype=X.dtype) for a, b in zip(p.widths, p.widths[1:])]
    with torch.no_grad():
        for layer, (W, b) in zip(layers, p.start):
            layer.weight.copy_(torch.from_numpy(W))
            layer.bias.copy_(torch.from_numpy(b))
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    cross_entropy, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), p.learning_rate)
    batches = list(zip(X.split(len(X) // p.steps), y.split(len(X) // p.steps)))

    def train(passes):
        for _ in range(passes):
            for x_batch, y_batch in batches:
                optimizer.zero_grad(set_to_none=True)
                with torch.autocast("cpu", torch.bfloat16, enabled=in_bfloat16):
                    loss_of_batch = cross_entropy(model(x_batch), y_batch)
                loss_of_batch.backward()
                optimizer.step()

    def loss():
        return p.loss([(layer.weight.detach().numpy(), layer.bias.detach().numpy()) for layer in layers])

    return Arm(train, p.steps, loss, slow=True)


def sklearn_sgd(p: Problem) -> Arm:
    """SGDClassifier, which trains one binary model per class and no softmax over the classes."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import log_loss

    model = SGDClassifier(
        loss="log_loss", penalty=None, alpha=0, learning_rate="constant", eta0=p.learning_rate, tol=None, shuffle=False
    )
    W, b = (np.ascontiguousarray(a, p.X.dtype) for a in p.start[0])

    def train(passes):
        model.max_iter = passes
        model.fit(p.X, p.y, coef_init=W.copy(), intercept_init=b.copy())

    return Arm(train, p.steps, lambda: log_loss(p.y, model.predict_proba(p.X)))


def sklearn_network(p: Problem) -> Arm:
    """MLPClassifier. partial_fit makes one pass over its samples, so copies of the batch give several steps per call."""
    from sklearn import config_context
    from sklearn.neural_network import MLPClassifier

    copies = max(1, 2000 // len(p.X))
    X, y = np.tile(p.X, (copies, 1)), np.tile(p.y, copies)
    classes = np.arange(p.n_classes)
    model = MLPClassifier(
        p.hidden,
        solver="sgd",
        alpha=0,
        batch_size=len(p.X),
        learning_rate_init=p.learning_rate,
        momentum=0,
        shuffle=False,
    )

    def train(passes):
        with config_context(assume_finite=True):  # skips the check for NaN and infinity in each call
            for done in range(0, passes, copies):
                rows = min(copies, passes - done) * len(p.X)
                model.partial_fit(X[:rows], y[:rows], classes=classes)

    train(1)
    for W, b, (W_start, b_start) in zip(model.coefs_, model.intercepts_, p.start):
        W[:], b[:] = W_start.T, b_start
    return Arm(train, loss=lambda: p.loss([(W.T, b) for W, b in zip(model.coefs_, model.intercepts_)]))


# ---------------------------------------------------------------- a DataLoader over torchvision's CIFAR-10


def torchvision():
    """Import torchvision; if its operators do not fit the installed torch, with the workaround of the tests."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        import torch

        threads = torch.get_num_threads()
        sys.path.insert(0, str(Path(__file__).parents[1]))
        package = importlib.import_module("tests.conftest").import_torchvision()
        torch.set_num_threads(threads)  # importing tests.conftest has set one thread
        return package


@cache
def image_set(m: int):
    """torchvision's CIFAR10 with ToTensor, but with ``m`` random images in place of those read from files."""
    torchvision()
    from torchvision.datasets import CIFAR10
    from torchvision.transforms import ToTensor

    rng, made = np.random.default_rng(0), CIFAR10.__new__(CIFAR10)
    images = rng.integers(0, 256, (m, 3, 32, 32), np.uint8)
    made.data = images.transpose(0, 2, 3, 1)  # CIFAR10 keeps images as (m, height, width, channels)
    made.targets, made.transform, made.target_transform = rng.integers(0, 10, m).tolist(), ToTensor(), None
    return made


@dataclasses.dataclass
class LoaderProblem:
    """A deep MLP on mini-batches of 1,000 images in an order drawn by torch; its loss is measured on ``sample``."""

    images: int
    dtype: np.dtype

    @cached_property
    def sample(self) -> Problem:
        rows = slice(1000)
        made = image_set(self.images)
        X = made.data[rows].transpose(0, 3, 1, 2).reshape(-1, 3072) / np.float32(255)
        return Problem(X, np.asarray(made.targets)[rows], 10, hidden=(100, 100))

    def loader(self):
        import torch

        torch.manual_seed(0)
        return torch.utils.data.DataLoader(image_set(self.images), batch_size=1000, shuffle=True)


@dataclasses.dataclass
class ListProblem:
    """A deep MLP on a plain list of batches of one sample, arrays or ``tensors``: what a batch costs beside its step."""

    sample: Problem
    tensors: bool
    dtype: type = np.float32

    @cached_property
    def _batches(self) -> list:
        import torch

        convert = torch.from_numpy if self.tensors else np.asarray
        pairs = zip(np.split(self.sample.X, len(self.sample.X)), np.split(self.sample.y, len(self.sample.X)))
        return [(convert(X), convert(y)) for X, y in pairs]

    def loader(self):
        return self._batches


def loader_lab(p: LoaderProblem | ListProblem, lab) -> Arm:
    """The lab's own training loop over the loader, by fastclf or in plain NumPy."""
    ours = lab is not reference
    n, hidden, _, c = p.sample.widths
    model = lab.DeepMLPClassifier(n, hidden, c, **({"dtype": p.dtype} if ours else {}))
    for name, (W, b) in zip("132", p.sample.start):
        setattr(model, f"W{name}", W.copy())
        setattr(model, f"b{name}", b.reshape(-1, 1).copy())
    how = {"step_size": 10**9, "patience": 10**9} | ({"verbose": False} if ours else {})
    layers = lambda: [(getattr(model, f"W{name}"), getattr(model, f"b{name}")[:, 0]) for name in "132"]  # noqa: E731
    return Arm(
        lambda passes: model.train(p.loader(), passes, LEARNING_RATE, **how), loss=lambda: p.sample.loss(layers())
    )


def loader_torch(p: LoaderProblem | ListProblem) -> Arm:
    """The training loop as a torch user writes it, in float32."""
    import torch
    from torch import nn

    layers = [nn.Linear(a, b) for a, b in zip(p.sample.widths, p.sample.widths[1:])]
    with torch.no_grad():
        for layer, (W, b) in zip(layers, p.sample.start):
            layer.weight.copy_(torch.from_numpy(W))
            layer.bias.copy_(torch.from_numpy(b))
    model = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    cross_entropy, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(model.parameters(), LEARNING_RATE)

    def train(passes):
        loader = p.loader()
        for _ in range(passes):
            for X, y in loader:
                optimizer.zero_grad(set_to_none=True)
                cross_entropy(model(X.flatten(1)), y).backward()
                nn.utils.clip_grad_value_(model.parameters(), 1.0)
                optimizer.step()

    return Arm(
        train, loss=lambda: p.sample.loss([(a.weight.detach().numpy(), a.bias.detach().numpy()) for a in layers])
    )


# ---------------------------------------------------------------- the estimators, ours and scikit-learn's


def estimator(p: Problem, ours: bool, **how) -> Arm:
    """``fit`` of an MLP by Adam in batches of 200, or of a linear model by per-sample SGD with the default L2 penalty.

    A pass is an epoch, or an iteration of L-BFGS. ``how`` are other parameters of the MLP.
    """
    from sklearn.linear_model import SGDClassifier
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    from fastclf import FastLinearClassifier, FastMLPClassifier

    if p.hidden:
        kind = FastMLPClassifier if ours else MLPClassifier
        model = kind(p.hidden, n_iter_no_change=math.inf, random_state=0, **how)
    else:
        kind = FastLinearClassifier if ours else SGDClassifier
        # scikit-learn had no default for eta0 before 1.9
        model = kind(loss="log_loss", learning_rate="constant", eta0=0.01, tol=None, shuffle=False)

    def train(passes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scikit-learn warns that so few epochs do not converge
            model.set_params(max_iter=passes).fit(p.X, p.y)

    def loss():
        return model.loss_ if p.hidden else log_loss(p.y, model.predict_proba(p.X))

    return Arm(train, loss=loss)


def predictor(p: Problem, rows: int, ours: bool, method: str = "predict") -> Arm:
    """Predictions of ``rows`` samples by an estimator, its checks of the input included; a pass is a call."""
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    from fastclf import FastLinearClassifier, FastMLPClassifier

    if p.hidden:
        model = (FastMLPClassifier if ours else MLPClassifier)(p.hidden, max_iter=1, random_state=0)
    elif ours:
        model = FastLinearClassifier(max_iter=1, tol=None)
    else:
        model = SGDClassifier(loss="log_loss", max_iter=1, tol=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns that so few epochs do not converge
        model.fit(p.X, np.arange(len(p.X)) % p.n_classes)
    call, X = getattr(model, method), np.ascontiguousarray(np.resize(p.X, (rows, p.X.shape[1])))

    def train(passes):
        for _ in range(passes):
            call(X)

    return Arm(train)


def torch_predictor(p: Problem, rows: int) -> Arm:
    """The same by a bare torch module, which checks nothing."""
    import torch
    from torch import nn

    layers = [nn.Linear(a, b) for a, b in zip(p.widths, p.widths[1:])]
    module = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1]).eval()
    X = torch.from_numpy(np.ascontiguousarray(np.resize(p.X, (rows, p.X.shape[1])), np.float32))

    def train(passes):
        with torch.no_grad():
            for _ in range(passes):
                module(X).argmax(dim=1)

    return Arm(train)


def stacking(p: Problem, ours: bool) -> Arm:
    """``fit`` of a StackingClassifier of four small models; a pass is a fit."""
    from sklearn.ensemble import StackingClassifier
    from sklearn.linear_model import LogisticRegression

    models = [(f"{kind.__name__}{k}", kind(**how)) for k, (kind, how) in enumerate(_small_models(ours))]
    model = StackingClassifier(models, LogisticRegression(max_iter=200), cv=3)
    return Arm(_fits(model, p))


def grid_search(p: Problem, ours: bool) -> Arm:
    """``fit`` of a GridSearchCV of a small MLP in two processes; a pass is a fit."""
    from sklearn.model_selection import GridSearchCV

    kind, how = _small_models(ours)[-1]
    return Arm(_fits(GridSearchCV(kind(**how), {"alpha": [1e-4, 1e-2]}, cv=3, n_jobs=2), p))


def _small_models(ours: bool) -> list[tuple[type, dict]]:
    from sklearn.linear_model import SGDClassifier
    from sklearn.neural_network import MLPClassifier

    from fastclf import FastLinearClassifier, FastMLPClassifier

    linear, mlp = (FastLinearClassifier, FastMLPClassifier) if ours else (SGDClassifier, MLPClassifier)
    steps, epochs = {"loss": "log_loss", "tol": None, "max_iter": 10}, {"max_iter": 10, "random_state": 0}
    return [
        (linear, steps), (linear, {**steps, "penalty": "elasticnet"}), (mlp, {"hidden_layer_sizes": (50,), **epochs}),
        (mlp, {"hidden_layer_sizes": (100,), **epochs}),
    ]  # fmt: skip


def _fits(model, p: Problem) -> Callable[[int], None]:
    def train(passes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(passes):
                model.fit(p.X, p.y)

    return train


def _jax(p: Problem, step: Callable, transposed: bool) -> Arm:
    """An arm that repeats ``step(params, X, Y)``, which returns new parameters and the loss, in one compiled function.

    The weights that ``step`` takes are (n_out, n_in) if ``transposed``, else (n_in, n_out).
    """
    import jax
    import jax.experimental
    import jax.numpy as jnp

    kind, none = p.X.dtype, np.zeros((), p.X.dtype)
    enable_x64 = jax.enable_x64 if hasattr(jax, "enable_x64") else jax.experimental.enable_x64
    precision = partial(enable_x64, bool(kind == np.float64))
    with precision():
        X, Y = jnp.asarray(p.X), jnp.asarray(p.targets, kind)
        params = [(jnp.asarray(W if transposed else W.T, kind), jnp.asarray(b, kind)) for W, b in p.start]

    @jax.jit
    def repeat(params, X, Y, passes):
        return jax.lax.fori_loop(0, passes, lambda _, state: step(state[0], X, Y), (params, none))

    def train(passes):
        nonlocal params
        with precision():
            params = jax.block_until_ready(repeat(params, X, Y, passes))[0]

    def loss():
        arrays = [(np.asarray(W), np.asarray(b)) for W, b in params]
        return p.loss([(W if transposed else W.T, b) for W, b in arrays])

    return Arm(train, p.steps, loss)


def jax_scan(p: Problem) -> Arm:
    """JAX as its users write it, by jit and scan; a linear model's gradient by its formula, a network's by autodiff."""
    import jax
    import jax.numpy as jnp

    lr, m = p.learning_rate, len(p.X)

    def sample(params, row):
        [(W, b)], (x, t) = params, row
        g = lr * (jax.nn.softmax(x @ W + b) - t)
        return [(W - x[:, None] * g, b - g)], None

    def sgd_pass(params, X, Y):
        return jax.lax.scan(sample, params, (X, Y))[0], np.zeros((), p.X.dtype)

    def linear_step(params, X, Y):
        [(W, b)] = params
        log_p = jax.nn.log_softmax(X @ W + b)
        g = (jnp.exp(log_p) - Y) / m
        return [(W - lr * X.T @ g, b - lr * g.sum(0))], -(log_p * Y).sum(1).mean()

    def cross_entropy(params, X, Y):
        for W, b in params[:-1]:
            X = jax.nn.relu(X @ W + b)
        W, b = params[-1]
        return -(jax.nn.log_softmax(X @ W + b) * Y).sum(1).mean()

    def network_step(params, X, Y):
        value, gradient = jax.value_and_grad(cross_entropy)(params, X, Y)
        return jax.tree.map(lambda w, g: w - lr * g, params, gradient), value

    return _jax(p, network_step if p.hidden else sgd_pass if p.per_sample else linear_step, transposed=False)


def jax_by_hand(p: Problem) -> Arm:
    """The fastest JAX that we found for wide inputs: backpropagation written out, weights stored as (n_out, n_in)."""
    import jax
    import jax.numpy as jnp

    def step(params, X, Y):
        inputs = [X]
        for W, b in params[:-1]:
            inputs.append(jax.nn.relu(inputs[-1] @ W.T + b))
        W, b = params[-1]
        log_p = jax.nn.log_softmax(inputs[-1] @ W.T + b)
        g, new = (jnp.exp(log_p) - Y) / len(p.X), []
        for (W, b), A in zip(params[::-1], inputs[::-1]):
            new.append((W - p.learning_rate * g.T @ A, b - p.learning_rate * g.sum(0)))
            g = (g @ W) * (A > 0)
        return new[::-1], -(log_p * Y).sum(1).mean()

    return _jax(p, step, transposed=True)
