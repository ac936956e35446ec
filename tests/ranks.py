"""Real processes in a group of torch.distributed, over gloo on the loopback interface."""

from __future__ import annotations

import inspect
import os
import pickle
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: What every rank runs: it meets the others, and calls the functions that it is sent, until there are no more.
_RANK = """
import datetime, os, pickle, sys, traceback
import torch
from torch import distributed

torch.set_num_threads(1)
rank, size, folder, seconds = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size, timeout=datetime.timedelta(seconds=seconds)
)
for number, _ in enumerate(sys.stdin):
    with open(f"{folder}/call{number}", "rb") as file:
        code, name, arguments = pickle.load(file)
    names = {"__name__": "__main__"}  # a warning without a module is not shown
    exec(code, names)
    try:
        found = True, names[name](rank, size, *arguments)
    except BaseException as error:
        found = False, (type(error).__name__, str(error), traceback.format_exc())
    with open(f"{folder}/new{number}.{rank}", "wb") as file:
        pickle.dump(found, file)
    os.replace(file.name, f"{folder}/{number}.{rank}")
distributed.destroy_process_group()
"""


class Failed(Exception):
    """A function has raised on a rank: (name of the exception, its message, traceback)."""


class Group:
    """``size`` processes in a group, whose exchanges end after ``seconds``."""

    def __init__(self, size: int, seconds: float = 60, **environment: Any) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._path, self._calls = Path(self._folder.name), 0
        given = os.environ | {"GLOO_SOCKET_IFNAME": "lo"} | {name: str(value) for name, value in environment.items()}
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-c", _RANK, str(rank), str(size), self._folder.name, str(seconds)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given,
                cwd=self._folder.name,
            )
            for rank in range(size)
        ]  # fmt: skip

    def begin(self, function: Callable[..., Any], *arguments: Any) -> int:
        """Let every rank call function(rank, size, *arguments), which imports what it uses; the number of the call."""
        code = textwrap.dedent(inspect.getsource(function))
        (self._path / f"call{self._calls}").write_bytes(pickle.dumps((code, function.__name__, arguments)))
        for process in self.processes:
            if process.poll() is None:
                process.stdin.write("go\n")
                process.stdin.flush()
        self._calls += 1
        return self._calls - 1

    def result(self, call: int, rank: int, timeout: float = 100) -> Any:
        """What the call has returned on a rank; raises ``Failed`` if it raised there."""
        path, until = self._path / f"{call}.{rank}", time.monotonic() + timeout
        while not path.exists():
            if self.processes[rank].poll() is not None and not path.exists():
                raise Failed(f"rank {rank} has ended", *self.processes[rank].communicate())
            if time.monotonic() > until:
                raise TimeoutError(f"rank {rank} has not returned within {timeout} seconds")
            time.sleep(0.01)
        succeeded, value = pickle.loads(path.read_bytes())
        if not succeeded:
            raise Failed(*value)
        return value

    def __call__(self, function: Callable[..., Any], *arguments: Any, timeout: float = 100) -> list[Any]:
        """What function(rank, size, *arguments) returns on each rank."""
        call = self.begin(function, *arguments)
        return [self.result(call, rank, timeout) for rank in range(len(self.processes))]

    def failures(self, function: Callable[..., Any], *arguments: Any, timeout: float = 100) -> list[tuple[str, str]]:
        """The exception that function(rank, size, *arguments) raises on each rank: its name and its message."""
        call, found = self.begin(function, *arguments), []
        for rank in range(len(self.processes)):
            try:
                self.result(call, rank, timeout)
                found.append(("", ""))
            except Failed as error:
                found.append(error.args[:2])
        return found

    def close(self) -> None:
        """End the processes; those that do not end by themselves are killed."""
        for process in self.processes:
            try:
                process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        self._folder.cleanup()
