"""Facts about an installation for a bug report, and the compilation of all kernels ahead of time."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
import time
from pathlib import Path
from typing import Any


def all_variants() -> list[tuple[Any, str]]:
    """Every kernel and routine with each dtype to compile it for; a routine comes before the functions that call it."""
    # Importing one of these modules adds its kernels and routines to jit.COMPILED.
    from ..kernels import check, gather, jit, linear, mlp, sgd, sparse, threads  # noqa: F401

    threads.layer()  # imports the routine that starts threads here
    return [(code, dtype) for code in jit.COMPILED.values() for dtype in code.dtypes]


def processor() -> str:
    """The processor's name, as far as the system reports one."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith(("model name", "Model")):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def describe() -> dict[str, str]:
    """Versions, processor, register tiles, threads and the state of the cache, as names with printable values."""
    import llvmlite.binding as llvm

    from ..kernels import threads
    from ..kernels.cache import cache_folder
    from ..kernels.target import TARGET

    layer, why = threads.layer()
    by_default, most = threads.available()
    wanted = ("avx2", "fma", "avx512f", "avx512bf16", "avx512vnni", "amx-bf16", "neon", "sve")
    features = llvm.get_host_cpu_features()
    folder = cache_folder()
    variants = all_variants()
    places = [code.place(dtype) for code, dtype in variants]
    size = sum(p.stat().st_size for p in folder.glob("*")) if folder else 0
    rows, units = TARGET.dot_tile
    outer_rows, vectors = TARGET.outer_tile
    return {
        "fastclf": version_of("fastclf"),
        "python": f"{platform.python_version()} ({platform.python_implementation()}, {sys.platform})",
        **{name: version_of(name) for name in ("numpy", "numba", "llvmlite", "scikit-learn", "torch", "matplotlib")},
        "processor": processor(),
        "compiled for": f"{TARGET.name}: {TARGET.baseline} {TARGET.features_for_pairs}".rstrip(),
        "features": ", ".join(f for f in wanted if features.get(f)) or "none of interest",
        "vectors": f"{TARGET.lanes(4)} float32 or {TARGET.lanes(8)} float64, {TARGET.registers} registers",
        "tiles": f"dot {rows} x {units} sums, outer {outer_rows} x {vectors} vectors of sums",
        "threads": f"{by_default} of {most}, layer {layer} ({why})",
        "cache": str(folder) if folder else "none: no folder can be written",
        "compiled kernels": f"{places.count('package')} in the package, {places.count('cache')} in the cache "
        f"({size / 1e6:.1f} MB), of {len(variants)}",
    }


def show_versions() -> None:
    """Print versions, processor, threads and the state of the kernels' cache, as ``fastclf info`` does, for a bug report."""
    facts = describe()
    width = max(map(len, facts))
    for name, value in facts.items():
        print(f"{name.ljust(width)}  {value}")


def warm_up() -> tuple[int, float]:
    """Compile every kernel that is not in the cache, with a progress bar; return how many, and the seconds."""
    from tqdm.auto import tqdm

    start, compiled = time.perf_counter(), 0
    with tqdm(all_variants(), unit="kernel") as bar:
        for code, dtype in bar:
            bar.set_description(f"{code.name} {dtype}".ljust(30))
            if code.place(dtype) is None:
                code.compile(dtype, quiet=True)
                compiled += 1
    return compiled, time.perf_counter() - start
