"""The list of differences is of tests that exist, and the page for readers has it."""

from importlib import import_module

import pytest

from .differences import LISTED, parts_of_page, table


@pytest.mark.parametrize("name", LISTED)
def test_what_is_listed_exists(name):
    module = import_module(f".{name}", __package__)  # skips where scikit-learn has no such tests
    listed = [test for difference in LISTED[name] for test in difference.tests]
    assert len(listed) == len({*listed})
    assert {test.partition("[")[0] for test in listed} <= vars(module).keys()


def test_the_page_has_the_list():
    """If not: python -m tests.estimators.scikit_learns.differences."""
    assert parts_of_page()[1] == table()
