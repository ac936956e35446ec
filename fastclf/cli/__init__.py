"""The ``fastclf`` command: it reads the options, runs the command, and turns errors into sentences and exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .options import parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = parser().parse_args(argv)
    from . import commands  # brings NumPy: not before it is known that there is something to do

    try:
        return commands.COMMANDS[args.command](args)
    except KeyboardInterrupt:
        print("\nfastclf: interrupted", file=sys.stderr)
        return commands.INTERRUPTED
    except BrokenPipeError:  # what is printed is no longer read: `fastclf predict … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, ImportError, OSError, RuntimeError) as error:
        if os.environ.get("FASTCLF_DEBUG"):
            raise
        print(f"fastclf {args.command}: {error}", file=sys.stderr)
        return 2
