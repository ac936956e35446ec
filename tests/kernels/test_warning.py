"""The place of a warning is the line of the user's, whatever lies between."""

import inspect
import threading
import warnings
from functools import partial

import pytest

from fastclf.kernels.warning import warn_user

careful = partial(warn_user, "careful", RuntimeWarning)


def inside(package, call):
    """The call, from a function in a module of the package."""
    names = {"__name__": f"{package}.some.module"}
    exec(compile("def inner(call):\n    call()", package, "exec"), names)
    return partial(names["inner"], call)


@pytest.mark.parametrize("packages", [["fastclf"], ["fastclf", "sklearn"], ["fastclf", "numba", "fastclf", "joblib"]])
def test_packages_in_between_do_not_count(packages):
    call = careful
    for package in packages:
        call = inside(package, call)
    line = inspect.currentframe().f_lineno + 2
    with pytest.warns(RuntimeWarning, match="careful") as caught:
        call()
    assert [(w.filename, w.lineno) for w in caught] == [(__file__, line)]


def test_the_innermost_other_line_counts():
    """The user's own functions may call each other, and libraries of the user's may call us."""
    with pytest.warns(RuntimeWarning, match="careful") as caught:
        inside("fastclf", inside("fastclf_extras", inside("fastclf", careful)))()
    assert [w.filename for w in caught] == ["fastclf_extras"]


def in_a_thread(call):
    thread = threading.Thread(target=call)
    thread.start()
    thread.join()


def test_a_thread_of_ours_has_no_such_line():
    with pytest.warns(RuntimeWarning, match="careful") as caught:
        in_a_thread(inside("fastclf", careful))
    assert [w.filename for w in caught] == ["fastclf"]


def test_a_line_in_a_namespace_without_a_name_warns():
    """``exec(code, {})``: Python drops warnings whose module is None."""
    with pytest.warns(RuntimeWarning, match="careful"):
        exec("careful()", {"careful": careful})


def test_one_line_warns_once_by_default():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            careful()
        careful()
    first, second = (w.lineno for w in caught)
    assert second > first
