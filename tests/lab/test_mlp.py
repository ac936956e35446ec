"""Sections 3 to 5 of the lab through the front door: both networks, their loops, and subsample_dataset."""

import copy
import math
import pickle

import numpy as np
import pytest

import fastclf
from fastclf import reference

from ..helpers import ONE_STEP, TRAJECTORY, IfInstalled, assert_close, problem

torch, torch_data = IfInstalled("torch"), IfInstalled("torch.utils.data")

N, H, C = 12, 9, 5
CLASSES = {"MLPClassifier": (1, 2), "DeepMLPClassifier": (1, 3, 2)}  # numbers of the layers, from the input on
FLOAT64 = np.dtype(np.float64)


@pytest.fixture(params=CLASSES)
def name(request):
    return request.param


@pytest.fixture
def data():
    return problem(70, N, C)


def pair(name, dtype=FLOAT64, sizes=(N, H, C)):
    """The same network twice, with weights large enough to matter: ours of a dtype, and the reference's."""
    ours, expected = getattr(fastclf, name)(*sizes, dtype=dtype), getattr(reference, name)(*sizes)
    rng = np.random.default_rng(4)
    for i in CLASSES[name]:
        for parameter in (f"W{i}", f"b{i}"):
            value = getattr(expected, parameter)
            value = rng.standard_normal(value.shape) / np.sqrt(value.shape[1] if parameter[0] == "W" else 100)
            setattr(ours, parameter, value)
            setattr(expected, parameter, getattr(ours, parameter).astype(np.float64))
    return ours, expected


def compare(tolerance, name, ours, expected, kinds="Wb", **more):
    tensors = {
        f"{k}{i}": (getattr(ours, f"{k}{i}"), getattr(expected, f"{k}{i}")) for k in kinds for i in CLASSES[name]
    }
    assert_close(tolerance, **tensors, **more)


def batches_of(p, size):
    return [(p.X[k : k + size], p.labels[k : k + size]) for k in range(0, len(p.X), size)]


# ---------------------------------------------------------------- one step


def test_construction(name, dtype):
    models = []
    for package, options in ((fastclf, {"dtype": dtype}), (reference, {})):
        np.random.seed(3)
        models.append(getattr(package, name)(N, H, C, **options))
    ours, expected = models
    seeded = getattr(fastclf, name)(N, H, C, dtype=dtype, random_state=3)
    for i in CLASSES[name]:
        for parameter in (f"W{i}", f"b{i}"):
            value = getattr(ours, parameter)
            assert value.dtype == dtype
            np.testing.assert_array_equal(value, getattr(expected, parameter).astype(dtype))
            np.testing.assert_array_equal(getattr(seeded, parameter), value)


def test_small_functions(name):
    ours, expected = pair(name)
    z = np.array([[-1.0, 0.0, 2.0], [3.0, -0.0, 1e-300]])
    for method in ("relu", "relu_derivative", "softmax"):
        np.testing.assert_array_equal(getattr(ours, method)(z), getattr(expected, method)(z))


@pytest.mark.parametrize("m", [1, 7, 70])
def test_a_step(name, dtype, m):
    p = problem(m, N, C, dtype)
    ours, expected = pair(name, dtype)
    A2, reference_A2 = ours.forward(p.X.T), expected.forward(p.X.T.astype(np.float64))
    loss = ours.compute_loss(A2, p.labels), expected.compute_loss(reference_A2, p.labels)
    compare(ONE_STEP[dtype], name, ours, expected, kinds="ZA", forward=(A2, reference_A2), loss=loss)
    ours.backward(p.X.T, p.labels, 0.5)
    expected.backward(p.X.T.astype(np.float64), p.labels, 0.5)
    compare(ONE_STEP[dtype], name, ours, expected)


def test_the_default_rate_is_a_hundredth(name, data):
    ours, expected = pair(name)
    for model in (ours, expected):
        model.forward(data.X.T)
        model.backward(data.X.T, data.labels)
    compare(ONE_STEP[FLOAT64], name, ours, expected)


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 1), (2, 1, 3, 2), (3, 33, 5, 17), (200, 65, 33, 10), (65, 8, 31, 1)], ids=str
)
def test_odd_shapes(name, shape):
    m, n, h, c = shape
    X, y, _, _ = problem(m, n, c)
    ours, expected = pair(name, sizes=(n, h, c))
    losses = []
    for model in (ours, expected):
        for _ in range(3):
            losses.append(model.compute_loss(model.forward(X.T), y))
            model.backward(X.T, y, 0.5)
    compare(TRAJECTORY, name, ours, expected, losses=(losses[:3], losses[3:]))


@pytest.mark.parametrize("threshold", [0.0, 1e-4, 0.01, 1.0, math.inf])
def test_clipping(threshold, data):
    ours, expected = pair("DeepMLPClassifier")
    for model in (ours, expected):
        model.forward(data.X.T)
        model.backward(data.X.T, data.labels, 0.5, clip_threshold=threshold)
    compare(ONE_STEP[FLOAT64], "DeepMLPClassifier", ours, expected)


def test_clipping_is_by_default_at_one():
    """With data so large that gradients exceed it."""
    p = problem(20, N, C)
    models = pair("DeepMLPClassifier")
    for model in models:
        model.forward(50 * p.X.T)
        model.backward(50 * p.X.T, p.labels, 0.5)
    compare(ONE_STEP[FLOAT64], "DeepMLPClassifier", *models)
    start, _ = pair("DeepMLPClassifier")
    assert np.abs(models[0].W1 - start.W1).max() == pytest.approx(0.5)


def test_probabilities_survive_backward(name, data):
    """The lab overwrites A2 with a gradient: a difference on purpose."""
    ours, _ = pair(name)
    A2 = ours.forward(data.X.T).copy()
    ours.backward(data.X.T, data.labels, 0.5)
    np.testing.assert_array_equal(ours.A2, A2)


def test_what_forward_returned_stays_as_it_is(name, data):
    ours, _ = pair(name)
    first = ours.forward(data.X.T)
    copy_of_first = first.copy()
    ours.forward(-data.X.T)
    ours.forward(data.X[:9].T)
    np.testing.assert_array_equal(first, copy_of_first)


def test_nothing_is_kept_before_forward(name):
    ours, _ = pair(name)
    with pytest.raises(AttributeError, match="A2 is set by forward"):
        _ = ours.A2


# ---------------------------------------------------------------- losses


def test_a_loss_of_given_probabilities(name, data):
    """Any probabilities, not only those of the last forward pass."""
    ours, expected = pair(name)
    other = reference.softmax(np.random.default_rng(0).standard_normal((C, 70)).T).T
    for forward_first in (False, True):
        if forward_first:
            ours.forward(data.X.T)
        loss = ours.compute_loss(other, data.labels), expected.compute_loss(other, data.labels)
        assert_close(ONE_STEP[FLOAT64], loss=loss)


@pytest.mark.parametrize("change", ["reversed", "edited"])
def test_a_loss_of_the_last_pass_changed(name, change, data):
    """A2 in another order, or written to: it is the argument that counts."""
    ours, expected = pair(name)
    losses = []
    for model in (ours, expected):
        A2 = model.forward(data.X.T)
        if change == "reversed":
            losses.append(model.compute_loss(A2[:, ::-1], data.labels))
        else:
            A2 *= 0.9
            A2 += 0.1 / C
            losses.append(model.compute_loss(A2, data.labels))
    assert_close(ONE_STEP[FLOAT64], loss=losses)


def test_a_loss_of_nothing_stays_finite(data):
    """The lab takes the logarithm of a probability that underflowed: a difference on purpose."""
    ours = fastclf.MLPClassifier(N, H, C)
    ours.b2 = np.array([[1e4], [0], [0], [0], [0]])
    wrong = np.ones(70, int)
    assert ours.compute_loss(ours.forward(data.X.T), wrong) == pytest.approx(1e4)
    assert ours.train(data.X.T, wrong, 1, 0.0, verbose=False) == [pytest.approx(1e4)]


def test_the_deep_loss_is_bounded(data):
    ours = fastclf.DeepMLPClassifier(N, H, C)
    ours.b2 = np.array([[1e4], [0], [0], [0], [0]])
    wrong = np.ones(70, int)
    assert ours.compute_loss(ours.forward(data.X.T), wrong) == pytest.approx(-np.log(1e-10))
    assert ours.train([(data.X, wrong)], 1, 0.0, verbose=False) == [pytest.approx(-np.log(1e-10))]


# ---------------------------------------------------------------- training


def test_training(data, capsys):
    ours, expected = pair("MLPClassifier")
    losses = ours.train(data.X.T, data.labels, 40, 0.5)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"Epoch {i + 1}, Loss: {loss}" for i, loss in enumerate(losses)]
    reference_losses = expected.train(data.X.T, data.labels, 40, 0.5)
    compare(TRAJECTORY, "MLPClassifier", ours, expected, losses=(losses, reference_losses))
    compare(TRAJECTORY, "MLPClassifier", ours, expected, kinds="ZA")  # what the last pass left
    assert all(type(loss) is float for loss in losses)


def test_training_in_float32(data):
    p = data._replace(X=data.X.astype(np.float32))
    ours, expected = pair("MLPClassifier", np.dtype(np.float32))
    losses = ours.train(p.X.T, p.labels, 5, 0.5, verbose=False), expected.train(p.X.T.astype(float), p.labels, 5, 0.5)
    compare(5 * ONE_STEP[np.dtype(np.float32)], "MLPClassifier", ours, expected, losses=losses)


def test_the_steps_of_train_are_those_of_its_parts(name, data):
    """Fused or not, to the bit."""
    fused, apart = pair(name)[0], pair(name)[0]
    losses = []
    for _ in range(4):
        losses.append(apart.compute_loss(apart.forward(data.X.T), data.labels))
        apart.backward(data.X.T, data.labels, 0.5)
    if name == "MLPClassifier":
        got = fused.train(data.X.T, data.labels, 4, 0.5, verbose=False)
    else:
        got = fused.train([(data.X, data.labels)], 4, 0.5, verbose=False)
    assert_close(1e-14, losses=(got, losses))
    for i in CLASSES[name]:
        np.testing.assert_array_equal(getattr(fused, f"W{i}"), getattr(apart, f"W{i}"))


@pytest.mark.parametrize("size", [1, 7, 20, 64, 70])
def test_deep_training(size, data, capsys):
    ours, expected = pair("DeepMLPClassifier")
    schedule = {"learning_rate": 0.1, "step_size": 3, "gamma": 0.5}
    losses = ours.train(batches_of(data, size), 7, **schedule)
    printed = capsys.readouterr().out
    reference_losses = expected.train(batches_of(data, size), 7, **schedule)
    compare(TRAJECTORY, "DeepMLPClassifier", ours, expected, losses=(losses, reference_losses))
    assert_close(TRAJECTORY, best=(ours.best_loss, expected.best_loss))
    rates = "Current learning rate: 0.05\n", "Current learning rate: 0.025\n"
    lines = [f"Epoch {i + 1}, Loss: {loss}\n" for i, loss in enumerate(losses)]
    assert printed == "".join([*lines[:2], rates[0], *lines[2:5], rates[1], *lines[5:]])


@pytest.mark.parametrize("patience", [0, 1, 3])
def test_early_stopping(patience, data, capsys):
    """A rate of 0 stops all progress; the first loss is the best one."""
    models, outputs, losses = pair("DeepMLPClassifier"), [], []
    for model in models:
        losses.append(model.train(batches_of(data, 70), 20, 0.0, patience=patience))
        outputs.append(capsys.readouterr().out.splitlines())
    assert len(losses[0]) == len(losses[1]) == 1 + max(patience, 1)
    assert outputs[0][-1] == outputs[1][-1] == f"No significant loss improvement for {patience}, early stopping"
    assert len(outputs[0]) == len(outputs[1])


def test_the_best_loss_outlives_a_run(data):
    """A second run is measured against the best loss of the first."""
    models, losses = pair("DeepMLPClassifier"), []
    for model in models:
        model.train(batches_of(data, 70), 30, 0.5)
        model.W1 = -model.W1
        losses.append(model.train(batches_of(data, 70), 30, 0.0, patience=2, min_delta=10.0))
    assert len(losses[0]) == len(losses[1]) == 2
    assert_close(TRAJECTORY, best=[model.best_loss for model in models])


def test_a_loader_of_torch(data):
    """Images of any shape, shuffled by torch's generator."""
    images = torch.tensor(data.X, dtype=torch.float32).reshape(70, 3, 2, 2)
    models, losses = pair("DeepMLPClassifier"), []
    for model in models:
        torch.manual_seed(5)
        dataset = torch_data.TensorDataset(images, torch.tensor(data.labels))
        loader = torch_data.DataLoader(dataset, batch_size=16, shuffle=True)
        losses.append(model.train(loader, 5, 0.1))
    compare(TRAJECTORY, "DeepMLPClassifier", *models, losses=losses)


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_batches_may_be_anything_array_like(data, kind):
    """uint8 images, float16, lists; pairs as lists; and a loader that makes its batches anew in every epoch."""
    pixels = np.random.default_rng(0).integers(0, 256, (20, N), dtype=np.uint8)
    half, labels = data.X[:20].astype(np.float16), data.labels[:20]
    small = labels.astype(np.int32) if kind == "array" else torch.tensor(labels, dtype=torch.int32)

    class Loader:
        def __iter__(self):
            yield [pixels / 255, list(labels)]
            yield half, labels.astype(np.uint8)
            yield half.tolist(), small

    exact = [(X.astype(np.float64), labels) for X in (pixels / 255, half, half)]
    ours, expected = pair("DeepMLPClassifier")
    losses = ours.train(Loader(), 3, 0.1, verbose=False), expected.train(exact, 3, 0.1)
    compare(TRAJECTORY, "DeepMLPClassifier", ours, expected, losses=losses)


def test_one_pass_over_an_iterator_is_enough_for_one_epoch(data):
    ours, expected = pair("DeepMLPClassifier")
    losses = ours.train(iter(batches_of(data, 20)), 1, 0.1, verbose=False), expected.train(batches_of(data, 20), 1, 0.1)
    compare(TRAJECTORY, "DeepMLPClassifier", ours, expected, losses=losses)


def test_no_epochs(name, data):
    ours, expected = pair(name)
    given = (data.X.T, data.labels) if name == "MLPClassifier" else (batches_of(data, 20),)
    assert ours.train(*given, epochs=0) == []
    compare(0, name, ours, expected)


def test_a_diverging_run_says_so(name, data):
    """Where one kernel call takes many steps, and where it takes one."""
    for loader in (batches_of(data, 70), fastclf.Batches(data.X, data.labels, 70)):
        ours, _ = pair(name)
        given = (data.X.T, data.labels) if name == "MLPClassifier" else (loader,)
        unclipped = {} if name == "MLPClassifier" else {"clip_threshold": math.inf}
        with pytest.warns(fastclf.TrainingDivergedWarning, match=r"epoch \d:") as caught:
            losses = ours.train(*given, epochs=6, learning_rate=1e300, verbose=False, **unclipped)
        assert [w.filename for w in caught if w.category is fastclf.TrainingDivergedWarning] == [__file__]
        assert losses == ours.losses_
        assert len(losses) < 6
        assert np.isfinite(ours._network.params).all()


# ---------------------------------------------------------------- parameters


def test_parameters_can_be_assigned_and_changed_in_place(name, data):
    models = pair(name)
    for model in models:
        model.W1 = model.W1[::-1].copy()
        model.W2 -= 0.1
        model.b1 += np.arange(H).reshape(-1, 1)
        model.W1[0, 1] = 7
        model.forward(data.X.T)
        model.backward(data.X.T, data.labels, 0.1)
    compare(ONE_STEP[FLOAT64], name, *models)


@pytest.mark.parametrize("make", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
@pytest.mark.parametrize("used", [False, True])
def test_a_copy_is_a_model_of_its_own(name, make, used, data):
    ours, expected = pair(name)
    for model in (ours, expected):
        if used:
            model.forward(data.X.T)
            model.backward(data.X.T, data.labels, 0.1)
    twin, before = make(ours), ours.W1.copy()
    for model in (twin, expected):
        model.forward(data.X.T)
        model.backward(data.X.T, data.labels, 0.1)
    compare(ONE_STEP[FLOAT64], name, twin, expected)
    np.testing.assert_array_equal(ours.W1, before)


# ---------------------------------------------------------------- callbacks and subclasses


def train(name, model, data, epochs, **options):
    given = (data.X.T, data.labels) if name == "MLPClassifier" else (batches_of(data, 30),)
    quiet = {} if isinstance(model, (reference.MLPClassifier, reference.DeepMLPClassifier)) else {"verbose": False}
    return model.train(*given, epochs, 0.1, **quiet, **options)


def test_callbacks_see_what_a_shorter_run_leaves(name, data):
    seen = []
    ours, _ = pair(name)
    losses = train(name, ours, data, 4, callback=lambda *now: seen.append((*now, ours.W1.copy())))
    for epoch, (i, loss, model, W1) in enumerate(seen):
        shorter, _ = pair(name)
        assert train(name, shorter, data, epoch + 1) == losses[: epoch + 1]
        assert (i, loss, model) == (epoch, losses[epoch], ours)
        np.testing.assert_array_equal(W1, shorter.W1)


def test_a_true_callback_stops(name, data):
    ours, shorter = pair(name)[0], pair(name)[0]
    losses = train(name, ours, data, 9, callback=lambda i, loss, model: i == 2)
    assert losses == train(name, shorter, data, 3)
    np.testing.assert_array_equal(ours.W1, shorter.W1)


def test_a_callback_that_fails_leaves_the_epochs_before(name, data):
    ours, shorter = pair(name)[0], pair(name)[0]

    def fail(error):
        def callback(epoch, loss, model):
            if epoch == 2:
                raise error

        return callback

    train(name, shorter, data, 3)
    with pytest.raises(ZeroDivisionError):
        train(name, ours, data, 9, callback=fail(ZeroDivisionError))
    np.testing.assert_array_equal(ours.W1, shorter.W1)
    assert ours.losses_ == shorter.losses_
    again = pair(name)[0]
    with pytest.warns(fastclf.TrainingInterruptedWarning) as caught:  # as after Ctrl-C
        train(name, again, data, 9, callback=fail(KeyboardInterrupt))
    assert [w.filename for w in caught] == [__file__]
    np.testing.assert_array_equal(again.W1, shorter.W1)
    assert again.losses_ == shorter.losses_


OWN = {
    "relu": lambda base: lambda self, z: np.where(np.asarray(z) > 0, z, 0.1 * np.asarray(z)),
    "relu_derivative": lambda base: lambda self, z: np.where(np.asarray(z) > 0, 1.0, 0.1),
    "softmax": lambda base: lambda self, z: base.softmax(self, np.asarray(z) / 3),
    "forward": lambda base: lambda self, X: base.forward(self, 2 * X),
    "compute_loss": lambda base: lambda self, A2, y: base.compute_loss(self, A2, y) + 1,
    "backward": lambda base: lambda self, X, y, rate, *clip: base.backward(self, X, y, rate / 2, *clip),
}


@pytest.mark.parametrize("method", OWN)
def test_a_subclass_is_trained_by_its_own_methods(name, method, data):
    """As in the lab, where every method calls the others."""
    models, losses = [], []
    for package in (fastclf, reference):
        base = getattr(package, name)
        models.append(type("Own", (base,), {method: OWN[method](base)})(N, H, C))
        rng = np.random.default_rng(4)
        for i in CLASSES[name]:
            setattr(models[-1], f"W{i}", rng.standard_normal(getattr(models[-1], f"W{i}").shape) / 3)
        losses.append(train(name, models[-1], data, 4))
    compare(TRAJECTORY, name, *models, losses=losses)


def test_training_leaves_what_forward_returned_alone(data):
    """In scratch that an earlier pass, or one in a callback, has handed out, a step would overwrite it."""
    model = fastclf.DeepMLPClassifier(N, H, C, random_state=0)
    kept = [model.forward(data.X[::-1].T)]
    before = [kept[0].copy()]

    def look(epoch, loss, model):
        kept.append(model.forward(data.X[::-1].T))
        before.append(kept[-1].copy())

    model.train([(data.X, data.labels)], 3, 0.5, verbose=False, callback=look)
    assert len(kept) == 4
    np.testing.assert_array_equal(kept, before)


# ---------------------------------------------------------------- subsample_dataset


@pytest.fixture
def dataset():
    return torch_data.TensorDataset(torch.arange(50).reshape(50, 1), torch.arange(50))


def test_a_subsample_is_the_global_generators(dataset):
    indices = []
    for package in (fastclf, reference):
        np.random.seed(3)
        indices.append(list(package.subsample_dataset(dataset, 20).indices))
    assert indices[0] == indices[1]
    assert len(set(indices[0])) == 20
    assert list(fastclf.subsample_dataset(dataset, 20, random_state=3).indices) == indices[0]
    assert list(fastclf.subsample_dataset(dataset, 20, random_state=np.random.RandomState(3)).indices) == indices[0]


def test_a_subsample_is_a_torch_subset(dataset):
    subset = fastclf.subsample_dataset(dataset, 50, random_state=np.random.default_rng(0))
    assert isinstance(subset, torch_data.Subset)
    assert sorted(int(y) for _, y in torch_data.DataLoader(subset)) == list(range(50))
    assert len(fastclf.subsample_dataset(torch_data.TensorDataset(torch.zeros(2000)))) == 1000
    assert len(fastclf.subsample_dataset(dataset, 0)) == 0


# ---------------------------------------------------------------- what is printed of a model


def reprs(name, dtype, kind=None):
    kind = getattr(fastclf, name) if kind is None else kind
    return (f"{kind.__name__}({N}, {H}, {C}, dtype={dtype}, {word})" for word in ("untrained", "trained"))


def run(model, data, epochs, **how):
    given = ([(data.X, data.labels)],) if isinstance(model, fastclf.DeepMLPClassifier) else (data.X.T, data.labels)
    return model.train(*given, epochs, verbose=False, **how)


@pytest.mark.parametrize("what", ["float64", "float32", "bfloat16"])
def test_the_repr_says_whether_it_is_trained(name, data, what):
    untrained, trained = reprs(name, what)
    model, seen = getattr(fastclf, name)(N, H, C, dtype=what), []
    run(model, data, 0)
    model.forward(data.X.T)
    assert repr(model) == untrained
    run(model, data, 2, callback=lambda *given: seen.append(repr(given[-1])))
    assert seen == [trained] * 2
    run(model, data, 0)
    assert repr(model) == repr(copy.deepcopy(model)) == repr(pickle.loads(pickle.dumps(model))) == trained


@pytest.mark.parametrize("own", [False, True])
def test_a_step_by_hand_is_training(name, data, own):
    base = getattr(fastclf, name)

    class Own(base):
        def relu(self, z):
            return super().relu(z)

    kind = Own if own else base
    untrained, trained = reprs(name, "float64", kind)
    model = kind(N, H, C)
    model.forward(data.X.T)
    with pytest.raises(ValueError, match="y must"):
        model.backward(data.X.T, data.labels + C)
    assert repr(model) == untrained
    model.backward(data.X.T, data.labels)
    assert repr(model) == trained
    model = kind(N, H, C)
    run(model, data, 1)
    assert repr(model) == trained


def test_a_run_that_an_error_ends_is_training_from_its_first_step_on(data):
    untrained, trained = reprs("DeepMLPClassifier", "float64")
    good, bad = (data.X, data.labels), (data.X, data.labels + C)
    for batches, said in (([bad, good], untrained), ([good, bad], trained)):
        model = fastclf.DeepMLPClassifier(N, H, C)
        with pytest.raises(ValueError, match="y of a batch"):
            model.train(batches, 1, verbose=False)
        assert repr(model) == said


def test_what_a_checkpoint_gives_back_is_trained(name, data, tmp_path):
    untrained, trained = reprs(name, "float64")
    run(getattr(fastclf, name)(N, H, C), data, 2, checkpoint=tmp_path / "run")
    model = getattr(fastclf, name)(N, H, C)
    assert repr(model) == untrained
    assert len(run(model, data, 2, checkpoint=tmp_path / "run", resume=True)) == 2  # nothing is left to be done
    assert repr(model) == trained
