"""Data sets by a short name or from a file, as the command line takes them.

``read`` returns samples and labels whose shapes and dtypes have been checked, so that a trainer has only the values left to
check. Nothing is downloaded.
"""

from __future__ import annotations

from .columns import Column
from .reading import read
from .sources import Dataset, cifar10, digits

__all__ = ["Column", "Dataset", "cifar10", "digits", "read"]
