"""Fixtures that every test may ask for. Compiled kernels come from the user's own cache, as they do for a user."""

import contextlib
import importlib
import importlib.util
import os
import re
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from fastclf.engine import threads

from . import image_sets
from .helpers import DTYPES

# A shell gives a job in the background processes that ignore Ctrl-C, and so do their children: several tests press it.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

if os.environ.get("FASTCLF_GUARDED"):
    from . import guards

    guards.install()

with contextlib.suppress(ImportError):
    import torch

    torch.set_num_threads(1)  # tiny problems, and pytest-xdist has a process for every processor already


@pytest.fixture(autouse=True)
def seeded():
    """Tests that draw from NumPy's global generator, as the lab does, draw the same numbers in any order."""
    np.random.seed(0)


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    """What is computed with."""
    return request.param


@pytest.fixture
def threads_for_all(monkeypatch):
    """Steps of any size get threads."""
    monkeypatch.setattr(threads, "SERIAL_BELOW", dict.fromkeys(threads.SERIAL_BELOW, 0))


def import_torchvision():
    """torchvision, also where its compiled operators do not fit the installed torch.

    torchvision from one index beside torch from another one has no operators, and its import ends at the first one that
    it describes to torch. Data sets and transforms need none of them: declaring their names lets the import pass.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::nms does not exist" not in str(error):
            raise
    registrations = Path(importlib.util.find_spec("torchvision").origin).with_name("_meta_registrations.py")
    names = re.findall(r'register_(?:meta|fake)\("(?:torchvision::)?(\w+)"', registrations.read_text())
    operators = torch.library.Library("torchvision", "DEF")
    for name in dict.fromkeys(names):
        operators.define(f"{name}() -> ()")
    for module in [m for m in sys.modules if m.partition(".")[0] == "torchvision"]:
        del sys.modules[module]  # half imported
    package = importlib.import_module("torchvision")
    package._declared_operators = operators  # torch forgets them with this object
    return package


@pytest.fixture(scope="session")
def torchvision():
    """torchvision; a test that asks for it is skipped where it is not installed."""
    try:
        return import_torchvision()
    except ImportError as error:
        pytest.skip(f"torchvision can not be imported: {error}")


@pytest.fixture
def cifar10(torchvision, tmp_path, monkeypatch):
    """A folder in CIFAR-10's own format, with 40 training and 20 test images, and torchvision's checksums to match."""
    image_sets.cifar10(torchvision.datasets, tmp_path, monkeypatch)
    return tmp_path


def pytest_terminal_summary(terminalreporter):
    """How many hostile cases the tests have counted, by ``record_property``."""
    counts = {}
    for report in terminalreporter.getreports("passed"):
        for name, count in report.user_properties:
            counts[name] = counts.get(name, 0) + count
    for name, count in sorted(counts.items()):
        terminalreporter.write_line(f"{count:,} {name}")
