"""A network's step, from hand values to torch: any depth, either kind of target, batches through an index."""

import numpy as np
import pytest

from fastclf.engine.losses import CLIPPED, EXACT, SHIFTED
from fastclf.engine.minibatch import BatchTrainer, Results, Samples, Workspace
from fastclf.engine.network import Network
from fastclf.engine.rows import Rows
from fastclf.kernels import mlp
from fastclf.kernels.codes import BACKWARD, FORWARD, LOSS, MARK, SHORT_VECTORS, TRAIN
from fastclf.kernels.records import Settings
from fastclf.kernels.target import TARGET

from ..helpers import FINITE_DIFFERENCES, LANES, ONE_STEP, IfInstalled, assert_close, edges, problem

torch, F = IfInstalled("torch"), IfInstalled("torch.nn.functional")

ROWS, UNITS = TARGET.dot_tile
OUTER_ROWS, VECTORS = TARGET.outer_tile
IN_TORCH = {"relu": "relu", "tanh": "tanh", "logistic": "sigmoid", "identity": "clone"}


class Model:
    """A network with random parameters and the scratch for its batches."""

    def __init__(self, widths, dtype=np.float64, capacity=64, sigmoid=False, activation="relu"):
        self.network, self.sigmoid = Network(widths, np.dtype(dtype)), sigmoid
        self.network.activation = activation
        self.work = Workspace(self.network, capacity)
        rng = np.random.default_rng(widths)
        for weights, bias in zip(self.network.weights, self.network.biases):
            weights[:] = rng.standard_normal(weights.shape) / np.sqrt(weights.shape[1])
            bias[:] = 0.1 * rng.standard_normal(bias.shape)

    def run(
        self, X, labels=None, targets=None, *, phases=TRAIN, order=None, batch_size=None, repeats=1, threads=1, rule=EXACT,
        **settings,
    ):  # fmt: skip
        """Steps over the batches of ``order``; their losses."""
        trainer = self.trainer(X, labels, targets, threads=threads, rule=rule, **settings)
        return trainer.run(phases, np.arange(len(X)) if order is None else order, batch_size, repeats=repeats)

    def trainer(self, X, labels=None, targets=None, *, threads=1, rule=EXACT, **settings):
        samples, chosen = Samples(Rows(X, X.dtype), labels, targets), Settings(*rule, **settings)
        return BatchTrainer(self.network, samples, chosen, self.work, sigmoid=self.sigmoid, threads=threads)

    @property
    def parameters(self):
        """Copies of all of them, by name."""
        return {
            f"{kind}{layer}": array.copy()
            for kind, arrays in (("W", self.network.weights), ("b", self.network.biases))
            for layer, array in enumerate(arrays)
        }

    def kept(self, buffer, m):
        """Every layer's Z, A or D of m samples as rows."""
        return [self.work.samples(buffer, layer, m).T for layer in range(len(self.network.layout))]


def torch_steps(model, batches, *, learning_rate=0.5, clip=np.inf, rule=EXACT):
    """torch's losses and parameters after SGD on (X, targets) batches, in float64."""
    layers = [
        [torch.tensor(a.astype(np.float64), requires_grad=True) for a in pair]
        for pair in zip(model.network.weights, model.network.biases)
    ]
    parameters = [p for layer in layers for p in layer]
    optimiser = torch.optim.SGD(parameters, lr=learning_rate)
    losses = []
    for X, targets in batches:
        h = torch.tensor(X.astype(np.float64))
        for weights, bias in layers[:-1]:
            h = getattr(torch, IN_TORCH[model.network.activation])(F.linear(h, weights, bias))
        z, t = F.linear(h, *layers[-1]), torch.tensor(targets)
        t = t.double() if t.is_floating_point() else t
        if model.sigmoid:
            loss = F.binary_cross_entropy_with_logits(z, t.reshape(z.shape).double(), reduction="sum") / len(X)
        else:
            loss = F.cross_entropy(z, t)
        optimiser.zero_grad()
        loss.backward()  # the lab's gradient is that of the plain cross-entropy, whatever its loss adds to p
        torch.nn.utils.clip_grad_value_(parameters, clip)
        optimiser.step()
        if rule.eps:
            loss = F.nll_loss(torch.log(F.softmax(z, 1) + rule.eps), t)
        losses.append(loss.item())
    after = {f"{kind}{layer}": layers[layer][i].detach() for i, kind in enumerate("Wb") for layer in range(len(layers))}
    return losses, after


def compare(tolerance, model, losses, expected_losses, expected_parameters):
    got = model.parameters
    assert_close(
        tolerance, losses=(losses, expected_losses), **{name: (got[name], expected_parameters[name]) for name in got}
    )


@pytest.mark.parametrize("m", [1, 100])
def test_hand_values(m, dtype):
    """One sample, repeated: x = 2, one hidden unit h = 2, scores ±h ∓ 2 = 0, so p = 1/2 and dz = ∓1/2."""
    model = Model((1, 1, 2), dtype, m)
    (W1, W2), (b1, b2) = model.network.weights, model.network.biases
    W1[:], b1[:], W2[:], b2[:] = 1, 0, [[1], [-1]], [-2, 2]
    losses = model.run(np.full((m, 1), 2, dtype), np.zeros(m, np.int64), learning_rate=1.0)
    # dW2 = ∓h/2, db2 = ∓1/2; dh = -1/2 - 1/2 = -1, dW1 = -x, db1 = -1
    compare(ONE_STEP[dtype], model, losses, [np.log(2)], {"W0": [[3]], "b0": [1], "W1": [[2], [-2]], "b1": [-1.5, 1.5]})


@pytest.mark.parametrize("m", [1, 5])
def test_the_derivative_of_relu_is_zero_at_zero(m, dtype):
    model = Model((1, 1, 2), dtype, m)
    model.network.weights[0][:], model.network.biases[0][:] = 1, 0
    before = model.parameters
    model.run(np.zeros((m, 1), dtype), np.zeros(m, np.int64), learning_rate=1.0)
    assert (model.parameters["b0"] == before["b0"]).all()
    assert (model.parameters["b1"] != before["b1"]).all()


SHAPES = [  # (m, widths) around every edge of a tile, one dimension at a time; 64 rows divide two ways of sharing work
    *[(m, (9, 7, 5)) for m in edges(1, ROWS, 2 * ROWS, mlp.BY_UNITS_BELOW)],
    *[(7, (n, 6, 3)) for n in edges(1, *LANES, *(VECTORS * lanes for lanes in LANES))],
    *[(7, (5, h, 3)) for h in edges(1, UNITS, OUTER_ROWS, *LANES)],
    *[(7, (5, 6, c)) for c in range(1, 18)],
    *[(m, (n, 37, 3)) for m in (7, 70) for n in edges(*(SHORT_VECTORS * lanes for lanes in LANES))],
    *[(m, (n, h, 3)) for m in (7, 70) for n in (3, 40) for h in edges(*(VECTORS * lanes for lanes in LANES))],
    *[(m, widths) for m in (7, 70) for widths in ((5, 33), (6, 40, 34), (5, 300, 50), (300, 40, 130))],  # many classes
    (70, (2100, 5, 3)),  # rows so long that a thread's share of them is several blocks
    *[(m, widths) for m in (3, 70) for widths in ((6, 4), (6, 9, 8, 4), (6, 5, 8, 7, 4))],
    (1, (1, 1, 1)),
]


@pytest.mark.parametrize(("m", "widths"), SHAPES, ids=str)
@pytest.mark.parametrize("kind", ["labels", "dense", "sigmoid"])
def test_a_step(kind, m, widths, dtype):
    model = Model(widths, dtype, m, sigmoid=kind == "sigmoid")
    X, labels, targets, _ = problem(m, widths[0], widths[-1], dtype, model.sigmoid)
    given = labels if kind == "labels" else targets
    expected = torch_steps(model, [(X, given)])
    losses = model.run(X, **{"labels" if kind == "labels" else "targets": given}, learning_rate=0.5)
    compare(ONE_STEP[dtype], model, losses, *expected)


@pytest.mark.parametrize("m", [3, 70])
def test_a_step_on_labels_of_a_sigmoid(m, dtype):
    model = Model((6, 5, 1), dtype, m, sigmoid=True)
    X, labels, _, _ = problem(m, 6, 1, dtype, sigmoid=True)
    expected = torch_steps(model, [(X, labels)])
    compare(ONE_STEP[dtype], model, model.run(X, labels, learning_rate=0.5), *expected)


@pytest.mark.parametrize("widths", [(3, 4), (3, 5, 4), (3, 5, 6, 4), (3, 17, 40)], ids=str)
@pytest.mark.parametrize("m", [3, 70])
def test_the_update_is_the_slope_of_the_loss(m, widths):
    model = Model(widths, capacity=m)
    X, labels, _, _ = problem(m, widths[0], widths[-1])
    start = model.network.params.copy()
    model.run(X, labels, learning_rate=1.0)
    gradient, h = start - model.network.params, 1e-5

    def loss_at(entry, change):
        model.network.params[:] = start
        model.network.params[entry] += change
        return model.run(X, labels, phases=FORWARD | LOSS)[0]

    slopes = np.array([(loss_at(e, h) - loss_at(e, -h)) / (2 * h) for e in range(len(start))])
    assert_close(FINITE_DIFFERENCES, params=(gradient, slopes))


@pytest.mark.parametrize("m", [1, 7, 63, 64, 200])
def test_the_fused_step_is_its_phases_one_by_one(m, dtype):
    X, labels, _, _ = problem(m, 9, 4, dtype)
    fused, apart = (Model((9, 11, 8, 4), dtype, m) for _ in range(2))
    numbers = {"learning_rate": 0.5, "clip_threshold": 0.02, "rule": SHIFTED}
    loss = fused.run(X, labels, **numbers)
    apart.run(X, labels, phases=FORWARD, **numbers)
    alone = apart.run(X, labels, phases=FORWARD | LOSS, **numbers)
    apart.run(X, labels, phases=BACKWARD, **numbers)
    np.testing.assert_array_equal(alone, loss)
    np.testing.assert_array_equal(apart.network.params, fused.network.params)
    for buffer in "ZAD":
        for got, expected in zip(apart.kept(buffer, m), fused.kept(buffer, m)):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("m", [5, 70])
def test_forward_and_loss_leave_the_parameters_alone(m, dtype):
    X, labels, _, _ = problem(m, 9, 4, dtype)
    model = Model((9, 11, 4), dtype, m)
    before = model.network.params.copy()
    model.run(X, labels, phases=FORWARD | LOSS, learning_rate=1.0)
    np.testing.assert_array_equal(model.network.params, before)


@pytest.mark.parametrize("m", [5, 70])
def test_what_forward_keeps(m, dtype):
    X, _, _, _ = problem(m, 9, 4, dtype)
    model = Model((9, 11, 4), dtype, m)
    model.run(X, phases=FORWARD)
    p = model.parameters
    z1 = X @ p["W0"].T + p["b0"]
    z2 = np.maximum(z1, 0) @ p["W1"].T + p["b1"]
    e = np.exp(z2 - z2.max(axis=1, keepdims=True))
    (Z1, Z2), (A1, A2) = model.kept("Z", m), model.kept("A", m)
    assert_close(
        ONE_STEP[dtype],
        Z1=(Z1, z1), A1=(A1, np.maximum(z1, 0)), Z2=(Z2, z2), A2=(A2, e / e.sum(axis=1, keepdims=True)),
    )  # fmt: skip


@pytest.mark.parametrize("m", [20, 100])
@pytest.mark.parametrize("kind", ["labels", "dense", "sigmoid"])
def test_five_steps_of_torch(kind, m, dtype):
    model = Model((8, 12, 10, 5), dtype, m, sigmoid=kind == "sigmoid")
    X, labels, targets, _ = problem(m, 8, 5, dtype, model.sigmoid)
    given = labels if kind == "labels" else targets
    expected = torch_steps(model, [(X, given)] * 5)
    losses = model.run(X, **{"labels" if kind == "labels" else "targets": given}, repeats=5, learning_rate=0.5)
    compare(5 * ONE_STEP[dtype], model, losses, *expected)


@pytest.mark.parametrize("m", [7, 100])
def test_clipping(m, dtype):
    """The threshold lies among the gradients' sizes, so that some are clipped and others are not."""
    model, X, labels = Model((8, 12, 5), dtype, m), *problem(m, 8, 5, dtype)[:2]
    free, start = torch_steps(model, [(X, labels)], learning_rate=1.0)[1], model.parameters
    gradients = np.concatenate([np.abs(start[name] - free[name].numpy()).ravel() for name in start])
    limit = float(np.median(gradients[gradients > 0]))
    expected = torch_steps(model, [(X, labels)], clip=limit)
    losses = model.run(X, labels, learning_rate=0.5, clip_threshold=limit)
    compare(ONE_STEP[dtype], model, losses, *expected)
    for name, before in start.items():
        assert np.abs(model.parameters[name] - before).max() <= 0.5 * limit * (1 + 1e-4)


@pytest.mark.parametrize("m", [7, 100])
@pytest.mark.parametrize("rule", [EXACT, SHIFTED], ids=["exact", "shift"])
def test_what_a_vanishing_probability_costs(rule, m, dtype):
    model, X, labels = Model((8, 12, 5), dtype, m), *problem(m, 8, 5, dtype)[:2]
    model.network.biases[-1][:] = [20, -20, 0, 5, -5]
    expected = torch_steps(model, [(X, labels)], rule=rule)
    compare(ONE_STEP[dtype], model, model.run(X, labels, learning_rate=0.5, rule=rule), *expected)


@pytest.mark.parametrize(
    ("rule", "right", "wrong"),
    [(CLIPPED, 0, -np.log(1e-15)), (EXACT, 0, 2e4), (SHIFTED, -np.log1p(1e-10), -np.log(1e-10))],
    ids=["clip", "exact", "shift"],
)
@pytest.mark.parametrize("m", [2, 80])
def test_extreme_logits(m, rule, right, wrong, dtype):
    """Scores of ±1e4 from the bias alone, right for half of the samples."""
    model = Model((3, 4, 3), dtype, m)
    model.network.weights[-1][:], model.network.biases[-1][:] = 0, [1e4, -1e4, -1e4]
    losses = model.run(np.ones((m, 3), dtype), np.arange(m) % 2, learning_rate=1.0, rule=rule)
    bias = [1e4 - 0.5, -1e4 + 0.5, -1e4]
    assert_close(ONE_STEP[dtype], losses=(losses, [(right + wrong) / 2]), b1=(model.parameters["b1"], bias))


@pytest.mark.parametrize("m", [5, 70])
def test_divergence_is_seen(m, dtype):
    X, labels, _, _ = problem(m, 9, 4, dtype)
    model = Model((9, 11, 4), dtype, m)
    start = model.network.params.copy()
    expected = model.run(X, labels, learning_rate=0.5)
    after = model.network.params.copy()
    losses = model.run(X, labels, repeats=4, learning_rate=float(np.finfo(dtype).max))
    assert np.isfinite(losses[0])
    assert np.isnan(losses[-1])
    model.network.params[:] = start  # what is left in the scratch must not be seen
    np.testing.assert_array_equal(model.run(X, labels, learning_rate=0.5), expected)
    np.testing.assert_array_equal(model.network.params, after)


@pytest.mark.parametrize(("m", "batch_size"), [(9, 1), (40, 7), (40, 20), (40, 64), (150, 64), (150, 100)])
@pytest.mark.parametrize("kind", ["labels", "dense"])
def test_batches_in_any_order(kind, m, batch_size, dtype):
    """A shuffled epoch is an index: the data itself stays where it is. The last batch may be short."""
    X, labels, targets, _ = problem(m + 20, 6, 4, dtype)
    given = labels if kind == "labels" else targets
    name = "labels" if kind == "labels" else "targets"
    order = np.random.default_rng(0).permutation(len(X))[:m]
    model = Model((6, 9, 4), dtype, batch_size)
    batches = [order[k : k + batch_size] for k in range(0, m, batch_size)]
    expected = torch_steps(model, [(X[b], given[b]) for b in batches] * 2, learning_rate=0.1)
    losses = model.run(X, **{name: given}, order=order, batch_size=batch_size, repeats=2, learning_rate=0.1)
    compare(2 * len(batches) * ONE_STEP[dtype], model, losses, *expected)


@pytest.mark.parametrize("m", [1, 5, 63, 64, 65, 300])
@pytest.mark.parametrize("widths", [(19, 21, 10, 4), (19, 70, 100), (700, 30, 10, 50)], ids=str)
def test_any_number_of_threads_gives_the_same_bits(widths, m, dtype):
    X, labels, _, _ = problem(m, widths[0], widths[-1], dtype)
    numbers = {"repeats": 3, "learning_rate": 0.5, "clip_threshold": 0.1}
    one = Model(widths, dtype, m)
    losses = one.run(X, labels, threads=1, **numbers)
    for threads in (2, 3, 4):
        several = Model(widths, dtype, m)
        np.testing.assert_array_equal(several.run(X, labels, threads=threads, **numbers), losses)
        np.testing.assert_array_equal(several.network.params, one.network.params)


def test_inputs_are_only_read(dtype):
    X, labels, targets, _ = problem(70, 6, 4, dtype)
    order = np.arange(70)
    for given in ({"labels": labels}, {"targets": targets}):
        arrays = [X, order, *given.values()]
        before = [a.copy() for a in arrays]
        for array in arrays:
            array.flags.writeable = False
        Model((6, 9, 4), dtype, 70).run(X, **given, order=order, repeats=2, learning_rate=1.0)
        for array, old in zip(arrays, before):
            np.testing.assert_array_equal(array, old)


# ---------------------------------------------------------------- what a model says of samples


def results_of(m, c, dtype):
    return Results(np.full((m, c), -1, dtype), np.full(m, -7))


@pytest.mark.parametrize("m", [*edges(1, *LANES), 200])
@pytest.mark.parametrize("widths", [(9, 10), (9, 7, 1), (9, 20, 3), (40, 33, 17, 129)], ids=str)
@pytest.mark.parametrize("threads", [1, 2])
def test_results(m, widths, threads, dtype):
    """In batches, and of samples in any order; they are what the scratch holds after a batch of its own."""
    model, order = Model(widths, dtype, capacity=m), np.random.default_rng(0).permutation(m)
    X, results = problem(m, widths[0], widths[-1], dtype).X, results_of(m, widths[-1], dtype)
    trainer = model.trainer(X, threads=threads)
    trainer.run(FORWARD)
    expected = model.kept("A", m)[-1][order]
    trainer.evaluate(FORWARD, order, 1 + m // 3, results)
    np.testing.assert_array_equal(results.outputs, expected)
    np.testing.assert_array_equal(results.winners, expected.argmax(axis=1))
    alone = Results(winners=np.full(m, -7))
    trainer.evaluate(FORWARD, order, m, alone)
    np.testing.assert_array_equal(alone.winners, results.winners)
    np.testing.assert_array_equal(results.of(slice(1, 3)).winners, results.winners[1:3])


@pytest.mark.parametrize("c", [2, 33])
def test_the_first_of_equal_classes_wins(c, dtype):
    model, X, results = Model((4, c), dtype), problem(50, 4, c, dtype).X, results_of(50, c, dtype)
    model.network.params[:] = 0
    model.trainer(X).evaluate(FORWARD, np.arange(50), 50, results)
    np.testing.assert_array_equal(results.outputs, np.full((50, c), dtype.type(1) / dtype.type(c)))
    assert not results.winners.any()
    model.network.biases[0][[1, c - 1]] = 1
    model.trainer(X).evaluate(FORWARD, np.arange(50), 50, results)
    assert set(results.winners) == {1}
    model.network.biases[0][0] = np.nan
    model.trainer(X).evaluate(FORWARD, np.arange(50), 50, results)
    assert ((results.winners >= 0) & (results.winners < c)).all()  # any of the classes, and no other number


@pytest.mark.parametrize("widths", [(9, 10), (9, 20, 3)], ids=str)
@pytest.mark.parametrize("m", [1, 63, 64, 200])
def test_marks(m, widths, dtype):
    """Whatever the weights are, 0 too."""
    model, c = Model(widths, dtype, capacity=m), widths[-1]
    X, results = problem(m, 9, c, dtype).X, results_of(m, c, dtype)
    for weights in (None, 0):
        if weights is not None:
            model.network.params[:] = weights
        model.trainer(X).evaluate(FORWARD | MARK, np.arange(len(X)), len(X), results)
        assert not results.are_marked()
        assert (results.winners >= 0).all()
        for bad in (np.nan, np.inf, -np.inf):
            for at in ((0, 0), (m // 2, 4), (m - 1, 8)):
                spoilt = X.copy()
                spoilt[at] = bad
                model.trainer(spoilt).evaluate(FORWARD | MARK, np.arange(len(X)), len(X), results)
                assert np.flatnonzero(results.winners < 0).tolist() == [at[0]]
                assert np.isnan(results.outputs[at[0], 0])
                assert results.are_marked()
                assert Results(outputs=results.outputs).are_marked()
