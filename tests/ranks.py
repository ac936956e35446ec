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

_SCRIPT = """
import datetime, pickle, sys
import torch
from torch import distributed
torch.set_num_threads(1)
rank, size, folder, seconds = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
distributed.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=size,
    timeout=datetime.timedelta(seconds=seconds),
)
function, arguments = sys.argv[5], pickle.load(open(f"{folder}/arguments", "rb"))
"""
_END = """
try:
    result = globals()[function](rank, size, *arguments)
finally:
    distributed.destroy_process_group()
with open(f"{folder}/{rank}", "wb") as file:
    pickle.dump(result, file)
"""


def start(
    function: Callable[..., Any], size: int, folder: str, arguments: tuple[Any, ...], seconds: float, **environment: Any
) -> list[subprocess.Popen[str]]:
    """Start ``size`` processes that call function(rank, size, *arguments); it imports what it uses."""
    Path(folder, "arguments").write_bytes(pickle.dumps(arguments))
    code = "\n".join([_SCRIPT, textwrap.dedent(inspect.getsource(function)), _END])
    given = os.environ | {"GLOO_SOCKET_IFNAME": "lo"} | {name: str(value) for name, value in environment.items()}
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, str(rank), str(size), folder, str(seconds), function.__name__],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given, cwd=folder,
        )
        for rank in range(size)
    ]  # fmt: skip


def end(processes: list[subprocess.Popen[str]], timeout: float) -> list[tuple[int, str, str]]:
    """Wait until all have ended, and return their exit statuses and what they said; kill them after ``timeout`` seconds."""
    until, said = time.monotonic() + timeout, []
    try:
        for process in processes:
            out, errors = process.communicate(timeout=max(0.1, until - time.monotonic()))
            said.append((process.returncode, out, errors))
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    return said


def on_ranks(
    function: Callable[..., Any], size: int, *arguments: Any, timeout: float = 100, seconds: float = 60, **environment: Any
) -> list[Any]:
    """What function(rank, size, *arguments) returns on each of ``size`` ranks; all must succeed."""
    with tempfile.TemporaryDirectory() as folder:
        said = end(start(function, size, folder, arguments, seconds, **environment), timeout)
        for rank, (status, out, errors) in enumerate(said):
            assert status == 0, f"rank {rank} ended with {status}:\n{out}\n{errors}"
        return [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in range(size)]
