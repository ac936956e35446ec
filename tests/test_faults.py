"""The table of small faults fits the code: each can be put in at one place. What notices them is run by hand."""

import pytest

from . import faults


@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: f"{fault.file}: {fault.right[:40]}")
def test_a_fault_has_one_place(fault):
    assert (faults.ROOT / fault.file).read_text(encoding="utf-8").count(fault.right) == 1
    assert fault.wrong != fault.right
    for path in fault.tests.split():
        assert (faults.ROOT / path.partition("::")[0]).exists()


def test_there_are_many():
    assert len(faults.FAULTS) >= 60
