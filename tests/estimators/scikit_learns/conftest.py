"""How scikit-learn's own tests run here: those of other classes are left out, and what is listed must fail."""

from pathlib import Path

import pytest

from .differences import LISTED
from .swap import concerns

HERE = Path(__file__).parent


@pytest.fixture
def global_random_seed():
    """As in scikit-learn's own conftest, without its environment variable."""
    return 42


def pytest_configure(config):
    config.addinivalue_line("markers", "no_check_spmatrix: a mark of scikit-learn's own tests, without a meaning here")


def pytest_collection_modifyitems(config, items):
    others = []
    for item in items:
        swapped = getattr(item.module, "SWAPPED", None) if item.path.parent == HERE else None
        if swapped is None:
            continue
        reasons = [d.why for d in LISTED[item.module.LIST] if d.holds_for(item)]
        if not concerns(item, swapped) or (item.module.WHY and item.module.WHY not in reasons):
            others.append(item)
        for why in reasons:
            item.add_marker(pytest.mark.xfail(reason=why, strict=True))
    if others:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]
