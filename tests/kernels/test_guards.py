"""Guard pages end a process that reads or writes one element too far."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mprotect of the C library")
ROOT = Path(__file__).parents[2]
CODE = """
import numpy as np
from tests import guards
for size in (1, 7, 4096, 5000):
    array = np.arange(size, dtype=np.float64)
    copy = guards.at_the_end_of_memory(array)
    assert (copy == array).all()
    copy[-1] = 5
np.lib.stride_tricks.as_strided(copy, (5001,))[5000]{what}
"""


@pytest.mark.parametrize("what", ["", " = 1"], ids=["read", "write"])
def test_one_element_too_far_ends_the_process(what):
    done = subprocess.run([sys.executable, "-c", CODE.format(what=what)], cwd=ROOT, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGSEGV, done.stderr.decode()


def test_a_kernels_results_are_copied_back(dtype, monkeypatch):
    from fastclf.kernels import check
    from fastclf.kernels.kernel import Kernel

    from .. import guards

    monkeypatch.setattr(Kernel, "__call__", Kernel.__call__)  # put back afterwards
    guards.install()
    part, x = np.ones(3), np.arange(1000, dtype=dtype)
    check.all_finite(x, part, 3)
    assert not part.any()
    x[-1] = np.nan
    check.all_finite(x, part, 3)
    assert np.isnan(part[-1])
