"""What ``import fastclf`` brings, and what it does not."""

import inspect
import shutil
from pathlib import Path

import pytest

import fastclf
from fastclf import datasets, plots

from .helpers import in_new_process


def imports_nothing_heavy():
    import sys

    import fastclf

    heavy = {"numba", "llvmlite", "sklearn", "scipy", "torch", "torchvision", "matplotlib", "jax", "tqdm"}
    heavy |= {"safetensors", "onnx", "pandas", "pyarrow"}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
    assert set(fastclf.__all__) <= set(dir(fastclf))
    assert not heavy & set(sys.modules), "dir() is for completion, and must be quick"
    import fastclf.datasets
    import fastclf.plots

    assert not heavy & set(sys.modules), "what draws and what reads imports what it needs when it does"


def is_refused_without_a_compiler():
    import numpy as np
    import pytest

    import fastclf

    for _ in range(2):
        with pytest.raises(ValueError, match="NUMBA_DISABLE_JIT must not be set"):
            fastclf.FastLinearClassifier().fit(np.eye(4), [0, 1, 0, 1])


def test_without_a_compiler():
    in_new_process(is_refused_without_a_compiler, NUMBA_DISABLE_JIT=1)


def trains_without_torch():
    import sys

    sys.modules["torch"] = sys.modules["sklearn"] = sys.modules["matplotlib"] = None  # importing them fails
    import fastclf

    fastclf.train_model([[1.0], [2.0]], [0, 1], iterations=2)
    fastclf.MLPClassifier(1, 2, 2).train([[1.0, 2.0]], [0, 1], 2)
    fastclf.DeepMLPClassifier(1, 2, 2).train([([[1.0], [2.0]], [0, 1])], 2)


@pytest.mark.parametrize("check", [imports_nothing_heavy, trains_without_torch], ids=lambda f: f.__name__)
def test_in_a_fresh_interpreter(check):
    in_new_process(check)


PUBLIC = [(module, name) for module in (fastclf, datasets, plots) for name in module.__all__]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda x: getattr(x, "__name__", x))
def test_public_names_are_there_and_documented(module, name):
    value = getattr(module, name)
    assert value.__module__.startswith("fastclf.")
    documented = [value]
    if inspect.isclass(value) and issubclass(value, BaseException):
        assert len(inspect.getdoc(value)) > 20
        return
    if inspect.isclass(value):
        members = inspect.getmembers(value, lambda m: inspect.isfunction(m) or inspect.ismethod(m))
        documented += [f for n, f in members if not n.startswith("_") and f.__module__.startswith("fastclf.")]
    for function in documented:
        doc = inspect.getdoc(function) or ""
        assert len(doc) > 20, function
        for parameter in inspect.signature(function).parameters:
            # One-line docstrings explain their one argument themselves.
            assert parameter == "self" or "\n" not in doc or parameter in doc, f"{function}: {parameter}"
        if "\n" in doc:
            assert "Parameters\n-----" in doc, function


def test_an_unknown_name():
    with pytest.raises(AttributeError, match="module 'fastclf' has no attribute 'perceptron'"):
        fastclf.perceptron  # noqa: B018


def test_the_version_is_a_version():
    assert [part.isdigit() for part in fastclf.__version__.split(".")] == [True] * 3


def from_the_source_folder(folder):
    import sys

    # An editable install finds the kernels through an import hook, an ordinary one in its own folder.
    sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder).lower()]
    sys.path.insert(0, folder)
    try:
        import fastclf
    except ImportError as error:
        message = str(error)
    else:
        raise AssertionError(f"imported {fastclf}")
    assert "source folder" in message
    assert "pip install -e ." in message


def test_a_source_folder_without_kernels_says_so(tmp_path):
    source = Path(fastclf.__file__).parent
    shutil.copytree(source, tmp_path / "fastclf", ignore=shutil.ignore_patterns("kernels", "__pycache__"))
    in_new_process(from_the_source_folder, str(tmp_path))
