"""Commands that a launcher such as torchrun has started several times: each process is a rank, with a part of the rows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from ..engine.distributed import ALONE, Alone, communicator

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # by which torch.distributed finds the other ranks


@contextmanager
def joined() -> Iterator[Alone]:
    """The communicator of this process: it joins the group that the environment describes, if there is one."""
    if any(name not in os.environ for name in _VARIABLES):
        yield ALONE
        return
    try:
        from torch import distributed
    except ImportError:
        raise ImportError("several ranks need torch.distributed: pip install 'fastclf[torch]'") from None
    store, rank, size = next(distributed.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # After a restart on a single machine, torchrun's store still has the addresses of the ranks that have ended.
        store = distributed.PrefixStore(f"fastclf-{os.environ.get('TORCHELASTIC_RESTART_COUNT')}", store)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=size)
    try:
        yield communicator(True)
    finally:
        distributed.destroy_process_group()  # without it, a process may abort when it exits


@contextmanager
def said_once(comm: Alone) -> Iterator[None]:
    """Let rank 0 alone print."""
    if comm.rank == 0:
        yield
        return
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def part_of(comm: Alone, m: int) -> slice:
    """The share of a rank of m rows: the ranks' shares, one after the other, are all rows in their order."""
    return slice(m * comm.rank // comm.size, m * (comm.rank + 1) // comm.size)
