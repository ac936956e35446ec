"""The ``fastclf`` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def _lab(args: argparse.Namespace) -> int:
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        print("fastclf lab draws its report with matplotlib: pip install 'fastclf[lab]'", file=sys.stderr)
        return 2
    from .lab import run_lab

    if args.data == "cifar10" and args.data_root is None:
        print("fastclf lab: --data cifar10 needs --data-root DIR, the folder that holds it", file=sys.stderr)
        return 2
    try:
        rows = run_lab(args.data, quick=args.quick, out=args.out, data_root=args.data_root, download=args.download)
    except (ImportError, OSError, RuntimeError) as error:
        print(f"fastclf lab: {error}", file=sys.stderr)
        return 2
    return 0 if all(row.passed for row in rows) else 1


def _info(args: argparse.Namespace) -> int:
    from .info import describe

    facts = describe()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.ljust(width)}  {value}")
    return 0


def _warmup(args: argparse.Namespace) -> int:
    from .info import all_variants, warm_up
    from .kernels.jit import cache_folder

    folder = cache_folder()
    if folder is None:
        return 2  # the warning has said why
    compiled, seconds = warm_up()
    print(f"{len(all_variants())} kernels in {folder}: {compiled} compiled now, in {seconds:.1f} s")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line, with its help."""
    top = argparse.ArgumentParser(prog="fastclf", description="The fastest way to train small classifiers on a CPU.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    lab = commands.add_parser(
        "lab",
        help="run the whole lab on plain NumPy and on fastclf, and compare",
        description="Run every stage of the lab twice, on plain NumPy and on fastclf, from the same seeds; print a table "
        "and write a report with pictures. Exit status: 0 if every stage agrees within its tolerance, 1 if one does not, "
        "2 if the lab could not be run.",
    )
    lab.add_argument(
        "--data", choices=("digits", "photos", "cifar10"), default="digits",
        help="images: scikit-learn's handwritten digits (default), patches of its two photographs, or CIFAR-10",
    )  # fmt: skip
    lab.add_argument("--data-root", metavar="DIR", help="folder that holds CIFAR-10, as torchvision lays it out")
    lab.add_argument("--download", action="store_true", help="let torchvision download CIFAR-10 into --data-root")
    lab.add_argument("--out", metavar="DIR", default="lab-report", help="folder of the report (default: %(default)s)")
    lab.add_argument("--quick", action="store_true", help="few epochs: a run of seconds")
    lab.set_defaults(run=_lab)

    info = commands.add_parser("info", help="versions, processor, tile, threads, cache: what a bug report needs")
    info.set_defaults(run=_info)
    warmup = commands.add_parser("warmup", help="compile every kernel and keep it, so that no later run waits")
    warmup.set_defaults(run=_warmup)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print("\nfastclf: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
