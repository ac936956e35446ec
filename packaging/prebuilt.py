"""The build backend: setuptools', and with FASTCLF_PREBUILT=1 a wheel that contains the kernels' machine code.

The pure wheel is unpacked and ``fastclf warmup`` is run in it, once for each instruction set of the platform. What that puts
into an empty cache goes into the wheel, which is then one of this platform and this version of Python. Its code is used with
the versions of Numba and llvmlite that compiled it; with others, kernels are compiled as from a pure wheel.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403
from setuptools.config.pyprojecttoml import read_configuration

# Processors, by LLVM's names, that stand for the instruction sets of ``kernels.target``; cooperlake has bfloat16 as well.
X86 = "x86-64", "x86-64-v3", "x86-64-v4", "cooperlake"
PROCESSORS = {"x86_64": X86, "amd64": X86, "aarch64": ("generic",), "arm64": ("generic",)}


def is_wanted() -> bool:
    return os.environ.get("FASTCLF_PREBUILT", "0") not in ("", "0")


def get_requires_for_build_wheel(config_settings=None):
    found = build_meta.get_requires_for_build_wheel(config_settings)
    if is_wanted():  # compiling takes what running takes
        found = [*found, "wheel", *read_configuration("pyproject.toml", expand=False)["project"]["dependencies"]]
    return found


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    if not is_wanted():
        return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for name in ("pure", "unpacked", "packed"):
            (work / name).mkdir()
        pure = build_meta.build_wheel(str(work / "pure"), config_settings)
        run("wheel", "unpack", str(work / "pure" / pure), "--dest", str(work / "unpacked"))
        [tree] = (work / "unpacked").iterdir()
        compile_into(tree / "fastclf" / "kernels" / "prebuilt", tree, work / "cache")
        mark_as_built(next(tree.glob("*.dist-info")) / "WHEEL")
        run("wheel", "pack", str(tree), "--dest-dir", str(work / "packed"))
        [built] = (work / "packed").iterdir()
        shutil.move(built, Path(wheel_directory) / built.name)
        return built.name


def run(*command: str, **environment: str) -> None:
    subprocess.run([sys.executable, "-m", *command], check=True, env=os.environ | environment)


def compile_into(folder: Path, tree: Path, cache: Path) -> None:
    """Compile all kernels of the package in ``tree`` for every instruction set, and put the code into ``folder``."""
    for processor in PROCESSORS[platform.machine().lower()]:
        run(
            "fastclf", "warmup", PYTHONPATH=str(tree), FASTCLF_CACHE_DIR=str(cache), NUMBA_CPU_NAME=processor,
            NUMBA_CPU_FEATURES="", PYTHONDONTWRITEBYTECODE="1", PYTHONSAFEPATH="1",
        )  # fmt: skip
    [compiled] = cache.iterdir()
    folder.mkdir()
    for file in compiled.glob("*.nbc"):
        shutil.copyfile(file, folder / file.name)


def mark_as_built(metadata: Path) -> None:
    """Let a wheel's metadata say that it is for this platform and this version of Python alone."""
    kept = [line for line in metadata.read_text().splitlines() if not line.startswith(("Root-Is-Purelib:", "Tag:"))]
    python = "cp{}{}".format(*sys.version_info)
    tag = f"{python}-{python}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
    metadata.write_text("\n".join([*[line for line in kept if line], "Root-Is-Purelib: false", f"Tag: {tag}", ""]))
