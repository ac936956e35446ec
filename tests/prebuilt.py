"""In an environment with a wheel that was built with machine code, and an empty cache: nothing is compiled.

Run as a script, outside of the source folder, with FASTCLF_CACHE_DIR set to an empty folder. Prints what a first call takes.
"""

import json
import subprocess
import sys
from pathlib import Path


def seconds(code: str) -> tuple[float, float]:
    """The seconds of ``import numba``, and of the code after it, in a new process that must not compile."""
    now = "time.perf_counter()"
    program = f"import time; start = {now}; import numba; at = {now}; {code}; print(at - start, {now} - at)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert "compiling" not in done.stderr, done.stderr
    numba, rest = map(float, done.stdout.split())
    return numba, rest


def main() -> None:
    import fastclf

    assert Path(fastclf.__file__).is_relative_to(sys.prefix), f"{fastclf.__file__} is not installed from a wheel"
    data = "import numpy as np; X, y = np.random.default_rng(0).random((500, 20)), np.arange(500) % 2; import fastclf; "
    for name, code in {
        "train_model": f"{data}fastclf.train_model(X, y, verbose=False)",
        "MLPClassifier.train": f"{data}fastclf.MLPClassifier(20, 30, 2).train(X.T, y, 5, verbose=False)",
        "FastMLPClassifier.fit": f"{data}fastclf.FastMLPClassifier(max_iter=5, tol=1.0).fit(X.astype('f'), y)",
        "in bfloat16": f"{data}fastclf.FastMLPClassifier(max_iter=5, tol=1.0, dtype='bfloat16').fit(X.astype('f'), y)",
        "FastLinearClassifier.fit": f"{data}fastclf.FastLinearClassifier().fit(X, y)",
    }.items():
        numba, rest = min(seconds(code) for _ in range(3))
        print(f"{name:<26} import numba {numba:.2f} s, and {rest:.2f} s until it has returned")
    from fastclf.kernels.cache import cache_folder

    assert not [*cache_folder().glob("*.nbc")]
    facts = json.loads(subprocess.check_output([sys.executable, "-m", "fastclf", "info", "--json"], text=True))
    print(facts["compiled for"], "-", facts["compiled kernels"])
    here, of_all = facts["compiled kernels"].split(" in the package")[0], facts["compiled kernels"].split("of ")[-1]
    assert here == of_all, facts["compiled kernels"]


if __name__ == "__main__":
    main()
