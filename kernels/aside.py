"""Work that Ctrl-C need not wait for: it is done in a thread of its own. Free of Numba."""

from __future__ import annotations

import threading
from collections.abc import Callable


class CompilationInterrupted(KeyboardInterrupt):
    """The user pressed Ctrl-C while Numba was imported, or a kernel compiled: nothing has been trained by it."""


def aside(work: Callable[[], object]) -> None:
    """Do ``work`` in a thread of its own, and wait for it.

    Ctrl-C interrupts the main thread alone: it need not wait for work that it would leave in disorder. The work goes on, and
    a later call finds the result.
    """
    if threading.current_thread() is not threading.main_thread():
        work()
        return
    ended, errors = threading.Event(), []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)
        ended.set()

    threading.Thread(target=run, name="fastclf compiles").start()
    try:
        ended.wait()
    except KeyboardInterrupt:
        raise CompilationInterrupted from None
    if errors:
        raise errors[0]
