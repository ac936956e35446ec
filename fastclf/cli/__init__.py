"""The ``fastclf`` command line: parse the options, run the command, turn errors into messages and exit statuses."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .messages import of_error
from .options import parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that ``argv`` names, ``sys.argv`` if None, and return its exit status."""
    options = parser()
    args = options.parse_args(argv)
    if args.command is None:
        options.print_help()
        return 0
    from . import commands  # imports NumPy, so only once the options are known to be valid

    try:
        return commands.COMMANDS[args.command](args)
    except KeyboardInterrupt:
        print("\nfastclf: interrupted", file=sys.stderr)
        return commands.INTERRUPTED
    except BrokenPipeError:  # the reader has closed the pipe, as in `fastclf predict … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, TypeError, ImportError, OSError, RuntimeError, MemoryError) as error:
        if os.environ.get("FASTCLF_DEBUG"):
            raise
        print(f"fastclf {args.command}: {of_error(error)}", file=sys.stderr)
        return 2
