"""Small faults, put into the code one at a time, and the tests that must notice each. Run by hand, for about half an hour:

    python tests/faults.py [WORD ...]      # only faults whose file or text holds one of the words

Prints the faults that survive their tests, and ends with status 1 if there are any. The files of the working tree stay as
they are: the tests run on a copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 300  # for the tests of one fault


class Fault(NamedTuple):
    file: str
    right: str  # occurs once in the file
    wrong: str
    tests: str  # arguments of pytest


LINEAR, MLP = "tests/estimators/test_linear.py", "tests/estimators/test_mlp.py"
VALIDATION = "tests/estimators/test_validation.py"
ANSWERS, ATTACKS, CACHE = (f"tests/robustness/test_{name}.py" for name in ("answers", "attacks", "cache"))
KILLS, REFUSED, DROPOUT = (
    "tests/robustness/test_kills.py",
    "tests/estimators/test_refused.py",
    "tests/kernels/test_dropout.py",
)
COLUMNS, DELIMITED = "tests/datasets/test_columns.py", "tests/datasets/test_delimited.py"
MATMUL = "tests/kernels/test_matmul.py"
ACTIVATION, SPARSE_LAYER = "tests/kernels/test_activation.py", "tests/kernels/test_sparse_layer.py"
BFLOAT16 = "tests/kernels/test_bfloat16.py"
K_MLP, K_SGD, K_LINEAR, K_SOFTMAX, K_UPDATE = (
    f"tests/kernels/test_{name}.py" for name in ("mlp", "sgd", "linear", "softmax", "update")
)
PROGRESS, SCHEDULES, INPUTS = "tests/engine/test_progress.py", "tests/engine/test_schedules.py", "tests/test_inputs.py"

FAULTS = [
    # ------------------------------------------------------------ kernels: per-sample SGD
    Fault(
        "kernels/sgd.py",
        "keep * vload_first(params, r0 + whole, count, zero)",
        "vload_first(params, r0 + whole, count, zero)",
        LINEAR,
    ),
    Fault(
        "kernels/sgd.py",
        "keep * vload_first(params, r3 + whole, count, zero)",
        "vload_first(params, r3 + whole, count, zero)",
        LINEAR,
    ),
    Fault(
        "kernels/sgd.py",
        "keep * vload_first(params, row + whole, count, zero)",
        "vload_first(params, row + whole, count, zero)",
        LINEAR,
    ),
    Fault(
        "kernels/sgd.py", "vfma(vsplat(params, -with_bias), delta, x)", "vfma(vsplat(params, -one), delta, x)", LINEAR
    ),
    Fault(
        "kernels/sgd.py",
        "total += weight * a + keep_loss(terms, step, b, weight)",
        "total += a + keep_loss(terms, step, b, one)",
        LINEAR,
    ),
    Fault("kernels/sgd.py", "keep = max(one - lr * l2, one - one)", "keep = one - lr * l2", LINEAR),
    Fault(
        "kernels/sgd.py",
        "keeps = vsplat(params, -(with_bias + sample_product(X, old, new, n))), vsplat(params, keep)",
        "keeps = vsplat(params, -(with_bias + sample_product(X, old, new, n))), vsplat(params, one)",
        LINEAR,
    ),
    Fault("kernels/sgd.py", "lr = real(params, rates[step])", "lr = real(params, rates[0])", LINEAR),
    Fault(
        "kernels/sgd.py",
        "sum_of_losses(terms, LOSS_BLOCK) if j == LOSS_BLOCK - 1 else 0.0",
        "sum_of_losses(terms, LOSS_BLOCK - 1) if j == LOSS_BLOCK - 1 else 0.0",
        LINEAR,
    ),
    Fault("kernels/sparse.py", "scales[FACTOR] *= max(0.0, 1 - rate * l2)", "scales[FACTOR] *= 1.0", LINEAR),
    Fault("kernels/sparse.py", "scales[L1_SUM] += rate * l1", "scales[L1_SUM] += l1", LINEAR),
    Fault("kernels/sparse.py", "if with_average and iterates > 0:", "if with_average and iterates > 1:", LINEAR),
    Fault("kernels/sparse.py", "with_bias * model.intercept_decay * g[k]", "with_bias * g[k]", LINEAR),
    Fault(
        "kernels/sparse.py",
        "total += weight * a + keep_loss(terms, step, b, weight)",
        "total += a + keep_loss(terms, step, b, weight)",
        LINEAR,
    ),
    # ------------------------------------------------------------ kernels: dropout
    Fault("kernels/dropout.py", " + np.uint64(l) * np.uint64(0x9E3779B97F4A7C15)", "", DROPOUT),
    Fault("kernels/dropout.py", "scrambled(np.uint64(batch.seed) + ", "scrambled(", DROPOUT),
    Fault(
        "kernels/dropout.py",
        "start, larger = rows_at(buffer, l, batch), 1 / (1 - p)",
        "start, larger = rows_at(buffer, l, batch), p / p",
        MLP,
    ),
    Fault("kernels/dropout.py", "key + np.uint64(i) *", "key + np.uint64(i - r0 * n_out) *", MLP),
    Fault(
        "kernels/mlp.py",
        "np.int64(scrambled(np.uint64(schedule.seed) + np.uint64(step)))",
        "np.int64(scrambled(np.uint64(schedule.seed)))",
        DROPOUT,
    ),
    Fault(
        "kernels/mlp.py",
        "mode, zero, larger, unlimited, panel, False,",
        "mode, zero, larger / larger, unlimited, panel, False,",
        DROPOUT,
    ),
    Fault(
        "fastclf/engine/minibatch.py",
        "of_piece = phases | place, seed + start + done, whole_weight",
        "of_piece = phases | place, seed + start, whole_weight",
        DROPOUT,
    ),
    Fault("fastclf/engine/minibatch.py", "mixes=some, seed=seed + done)", "mixes=some, seed=seed)", f"{DROPOUT} {MLP}"),
    # ------------------------------------------------------------ kernels: networks
    Fault("kernels/mlp.py", "weight_of(weights, order, p0, m) if weighted else float(m)", "float(m)", MLP),
    Fault(
        "kernels/mlp.py",
        "decay = batch.settings.l2_shared / batch.total_weight",
        "decay = batch.settings.l2_shared",
        MLP,
    ),
    Fault(
        "kernels/mlp.py",
        "steps = not in_place and batch.phases & HOLD == 0",
        "steps = not in_place",
        DROPOUT,
    ),
    Fault("kernels/mlp.py", "bias_step = step * batch.settings.bias_rate", "bias_step = step", LINEAR),
    Fault("kernels/matmul.py", "for r in range(m - m % 4, m):", "for r in range(m, m):", K_MLP),
    Fault(
        "kernels/mlp.py",
        "rate = schedule.rates[step] if phases & BACKWARD else 0.0",
        "rate = schedule.rates[0] if phases & BACKWARD else 0.0",
        f"{LINEAR} {MLP}",
    ),
    Fault("kernels/mlp.py", "mix = schedule.mixes[step] if", "mix = schedule.mixes[0] if", LINEAR),
    Fault("kernels/mlp.py", "keep = one if batch.phases & ADD else one - one", "keep = one - one", DROPOUT),
    Fault(
        "kernels/mlp.py",
        "total_loss(S, block, m, c, capacity) / total_weight",
        "total_loss(S, block, m, c, capacity) / m",
        LINEAR,
    ),
    Fault("kernels/mlp.py", "        if r == 0:\n", "        if r == 1:\n", ATTACKS),
    Fault("kernels/mlp.py", "batch.winners[r] = -1", "batch.winners[r] = 0", K_MLP),
    Fault(
        "kernels/update.py", "(vsqrt(v) + vsplat(w, settings.epsilon))", "vsqrt(v + vsplat(w, settings.epsilon))", MLP
    ),
    Fault("kernels/update.py", "(vfma(beta_1, v, move) if batch.optimiser == NESTEROV else v)", "v", MLP),
    Fault(
        "kernels/update.py",
        "vmin(vmax(vfma(vsplat(w, decay), x, vload_first(g, i, count, zero)), low), high)",
        "vfma(vsplat(w, decay), x, vload_first(g, i, count, zero))",
        MLP,
    ),
    Fault("kernels/update.py", "vfma(vsplat(w, batch.mix), x - average, average)", "x", LINEAR),
    Fault("kernels/update.py", "        if rest > 0:", "        if rest > 1:", K_UPDATE),
    Fault("kernels/update.py", "    if not penalised:", "    if decay < 0:", K_UPDATE),
    Fault("kernels/update.py", "    if n_columns == pitch:", "    if n_columns >= pitch - 1:", K_UPDATE),
    Fault("kernels/mlp.py", "w_at + u0 * n_in + i0, n_in", "w_at + u0 * n_in, n_in", K_UPDATE),
    Fault("kernels/matmul.py", "    if place == 0:\n", "    if place >= 0:\n", K_UPDATE),
    Fault("kernels/update.py", "    if shrink > 0:", "    if shrink > 1e9:", LINEAR),
    Fault(
        "kernels/softmax.py",
        "vwhere_equal(vload(S, z + k * ld), top, vsplat(S, c - k))",
        "vwhere_equal(vload(S, z + k * ld), top, vsplat(S, c - k - 1))",
        K_MLP,
    ),
    Fault(
        "kernels/softmax.py",
        "vmin(vmax(log_p, vsplat(like, low)), vsplat(like, high))",
        "vmin(log_p, vsplat(like, high))",
        K_SOFTMAX,
    ),
    Fault(
        "kernels/softmax.py", "vlog(vexp(bounded) + vsplat(like, eps)) if eps > 0 else bounded", "bounded", K_SOFTMAX
    ),
    Fault(
        "kernels/softmax.py",
        "vexp(vsplat(S, low))), vsplat(S, 1 + high))",
        "vexp(vsplat(S, low))), vsplat(S, 1.0))",
        K_SOFTMAX,
    ),
    Fault("kernels/softmax.py", "S[d + k] = (S[p + k] - 1) * factor", "S[d + k] = S[p + k] * factor", K_SOFTMAX),
    Fault("kernels/softmax.py", "inverse = one / sum_of_all", "inverse = one / total", K_SOFTMAX),
    Fault("kernels/matmul.py", "for k in range(whole, n_in):", "for k in range(n_in, n_in):", MATMUL),
    Fault("kernels/matmul.py", "kept += rows * units * lanes_of(Z)", "kept += units * lanes_of(Z)", MATMUL),
    Fault("kernels/matmul.py", "floor, sums, p == 0, p + depth >= K,", "floor, sums, True, p + depth >= K,", MATMUL),
    Fault("kernels/softmax.py", 'if low > -float("inf") and lanes_of(S) == DOUBLES', "if False", ANSWERS),
    Fault(
        "kernels/softmax.py", "S[weights + r] = sample_weight[order[r]] if weighted else 1", "S[weights + r] = 1", MLP
    ),
    Fault("kernels/gather.py", "channel * pixels\n", "channel\n", "tests/kernels/test_gather.py"),
    Fault("kernels/gather.py", "row = at(X, r * pitch)", "row = at(X, r * n)", BFLOAT16),
    Fault("kernels/operands.py", "if n_columns % 2 > 0:", "if False:", BFLOAT16),
    Fault("kernels/operands.py", "0x7FC00000), near)", "0), near)", BFLOAT16),
    Fault("kernels/operands.py", "is_there = r + 1 < n_rows", "is_there = True", BFLOAT16),
    Fault("kernels/matmul.py", "min(p + terms, n_terms) - 1", "p", BFLOAT16),
    # ------------------------------------------------------------ other activations, rows of pairs
    Fault("kernels/activation.py", "one - a * a", "one - a", ACTIVATION),
    Fault("kernels/activation.py", "2 if back else 1", "1", ACTIVATION),
    Fault("kernels/activation.py", "1 - dropout if dropping else real(A, 1.0)", "real(A, 1.0)", ACTIVATION),
    Fault("kernels/simd.py", "b.fsub(power, c(1.0))", "power", "tests/kernels/test_simd.py"),
    Fault("kernels/sparse_layer.py", "if batch.phases & ADD == 0:", "if True:", SPARSE_LAYER),
    Fault("kernels/sparse_layer.py", "or not is_relu or z != z", "or not is_relu", SPARSE_LAYER),
    Fault("kernels/sparse_layer.py", "if batch.phases & HOLD == 0:", "if True:", SPARSE_LAYER),
    # ------------------------------------------------------------ training
    Fault(
        "fastclf/engine/minibatch.py",
        "float(len(batch) if weights is None else weights[batch].sum(dtype=np.float64))",
        "float(len(batch))",
        DROPOUT,
    ),
    Fault(
        "fastclf/engine/minibatch.py",
        "if self.optimiser is not None and not self.optimiser.fits(self.network):",
        "if False:",
        "tests/engine",
    ),
    Fault(
        "fastclf/estimators/mlp.py",
        "w = samples.total_weight(part[start : start + capacity])",
        "w = float(len(part[start : start + capacity]))",
        MLP,
    ),
    Fault("fastclf/estimators/mlp.py", "float(np.average(right, weights=weights))", "float(right.mean())", MLP),
    Fault(
        "fastclf/estimators/mlp.py",
        "a callback may raise\n            best.bring_back()",
        "a callback may raise\n            _ = best.bring_back() if self.n_iter_ == epochs else None",
        MLP,
    ),
    Fault("fastclf/estimators/mlp.py", "better = plateau.after(value)", "better = plateau.after(loss)", MLP),
    Fault(
        "fastclf/estimators/linear.py",
        "np.ones(len(rows)) if samples.weights is None else samples.weights[rows].astype(np.float64)",
        "np.ones(len(rows))",
        LINEAR,
    ),
    Fault("fastclf/estimators/linear.py", "return rate, bias_rate / rate", "return rate, 1 / rate", LINEAR),
    Fault(
        "fastclf/estimators/linear.py",
        "if not by_score and of_held_out < best.loss:",
        "if not by_score:",
        VALIDATION,
    ),
    Fault("fastclf/estimators/linear.py", "            best.bring_back()\n", "", VALIDATION),
    Fault("fastclf/estimators/linear.py", "best.t if best.exists() else self.t_", "self.t_", VALIDATION),
    Fault(
        "fastclf/estimators/linear.py",
        "train = train if self.shuffle else np.sort(train)",
        "train = np.asarray(train)",
        ANSWERS,
    ),
    Fault("fastclf/estimators/linear.py", "            average = 0  # it does", "            pass  # it does", ANSWERS),
    Fault(
        "fastclf/engine/schedules.py",
        "self.count = 0 if gain >= self.best + self.tol else self.count + 1",
        "self.count = 0 if gain > self.best + self.tol else self.count + 1",
        SCHEDULES,
    ),
    Fault(
        "fastclf/engine/schedules.py",
        "abs(loss - self.best_loss) <= self.min_delta",
        "abs(loss - self.best_loss) < self.min_delta",
        SCHEDULES,
    ),
    Fault("fastclf/engine/schedules.py", "if (epoch + 1) % self.step_size:", "if epoch % self.step_size:", SCHEDULES),
    Fault("fastclf/engine/optimisers.py", "        self.t += steps\n", "", MLP),
    Fault("fastclf/engine/sgd.py", "first = self.task.average <= last", "first = self.task.average < last", LINEAR),
    Fault("fastclf/engine/sgd.py", "np.minimum(starts + size, len(rows))", "(starts + size)", LINEAR),
    Fault(
        "fastclf/engine/sgd.py",
        "self.task.average <= t - 1 + whole",
        "self.task.average < t - 1 + whole",
        LINEAR,
    ),
    Fault("fastclf/engine/sgd.py", "= int(t) - self.task.average", "= int(t) - self.task.average - 1", LINEAR),
    Fault("fastclf/engine/mapped.py", "return order[places]", "return order", "tests/engine/test_mapped.py"),
    Fault("fastclf/engine/mapped.py", "self._skipped + self._start + self._rows", "self._start + self._rows", ATTACKS),
    Fault("fastclf/engine/mapped.py", "array.nbytes > free_memory() / 2", "True", ANSWERS),
    Fault(
        "fastclf/engine/progress.py",
        "            except BaseException:\n                known[...] = before\n",
        "            except BaseException:\n",
        PROGRESS,
    ),
    Fault("fastclf/engine/progress.py", "return losses[: epoch + 1]", "return losses[:epoch]", PROGRESS),
    # ------------------------------------------------------------ what is proved
    Fault(
        "fastclf/estimators/base.py",
        "                attributes.clear()\n                attributes.update(before)\n",
        "                pass\n",
        REFUSED,
    ),
    Fault(
        "fastclf/estimators/base.py",
        "if are_whole and least >= 0 and most <= _LARGEST_BYTE:",
        "if are_whole and False:",
        ANSWERS,
    ),
    Fault(
        "fastclf/estimators/base.py",
        "most > 1.5 * _LARGEST_BYTE * factor",
        "most > 150 * _LARGEST_BYTE * factor",
        ANSWERS,
    ),
    Fault(
        "fastclf/estimators/proof.py",
        "plain and coef.shape == shape and intercept.shape == shape[:1]",
        "plain and coef.shape == shape",
        ATTACKS,
    ),
    Fault("fastclf/estimators/proof.py", "if model.n_features_in_ != n:", "if False:", ATTACKS),
    Fault("fastclf/estimators/proof.py", "    if not possible or not k:", "    if not k:", ATTACKS),
    Fault("fastclf/inputs.py", "if low < -m or high >= m:", "if low < -m or high > m:", ATTACKS),
    Fault("fastclf/inputs.py", "if low < 0 or high >= n_classes:", "if low < 0 or high > n_classes:", INPUTS),
    Fault(
        "fastclf/inputs.py",
        "return np.array(source, dtype=np.int64)",
        "return np.ascontiguousarray(source, dtype=np.int64)",
        INPUTS,
    ),
    Fault("fastclf/inputs.py", "check_format(full_check=True)", "check_format(full_check=False)", ATTACKS),
    Fault(
        "fastclf/inputs.py",
        "y.view(np.uint64).max() < n_classes",
        "y.view(np.uint64).max() <= n_classes",
        "tests/lab/test_mlp.py tests/test_inputs.py",
    ),
    Fault("fastclf/lab/loaders.py", "if type(loader).__iter__ is not Batches.__iter__:", "if False:", ATTACKS),
    Fault("fastclf/lab/loaders.py", "return here == there and all(", "return True or all(", ATTACKS),
    # ------------------------------------------------------------ files
    Fault(
        "kernels/cache.py",
        "if content[:size] == _checksum(name, content[size:]) else None",
        "if len(content) > size else None",
        CACHE,
    ),
    Fault(
        "kernels/cache.py", "_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH", "_OTHERS_MAY_WRITE = stat.S_IWOTH", CACHE
    ),
    Fault("kernels/cache.py", "found.st_uid != os.geteuid() or ", "", CACHE),
    Fault("kernels/cache.py", 'f"{source_digest()} {name} ".encode()', 'f"{source_digest()} ".encode()', CACHE),
    Fault(
        "fastclf/io/checkpoint.py",
        "is_due = epochs - self._epoch >= self._every",
        "is_due = epochs - self._epoch > self._every",
        KILLS,
    ),
    Fault("fastclf/io/checkpoint.py", "if not _alike(run.get(k), self._run.get(k))", "if False", KILLS),
    Fault("fastclf/io/persist.py", "checksum != _checksum(", "not _checksum(", "tests/io/test_persist_refused.py"),
    Fault(
        "fastclf/io/files.py",
        "if process.isdecimal() and not _is_alive(int(process)):",
        "if False:",
        "tests/io/test_files.py",
    ),
    Fault("fastclf/cli/outputs.py", "os.path.samefile(path, read)", "path == read", "tests/cli/test_outputs.py"),
    Fault("fastclf/cli/messages.py", "(?= (?!of ))", "(?= )", "tests/cli/test_messages.py"),
    Fault("fastclf/datasets/columns.py", "return max(others)", "return min(others)", COLUMNS),
    Fault("fastclf/datasets/columns.py", "if label is None and len(features) ==", "if len(features) ==", COLUMNS),
    Fault("fastclf/datasets/delimited.py", "(widths.count(n), n) if", "(n, widths.count(n)) if", DELIMITED),
    Fault("fastclf/datasets/encoding.py", "if dtype == np.uint8 and any(", "if False and any(", COLUMNS),
    Fault(
        "fastclf/estimators/base.py",
        'if reset and hasattr(self, "encoding_"):',
        "if False:",
        "tests/cli/test_tables.py",
    ),
]


def survives(fault: Fault, cache: str) -> bool:
    """Whether the tests pass although the fault is in the code. ``cache`` keeps kernels that the fault does not change."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("fastclf", "tests", "asv_benchmarks", "docs"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "results", "env"))
        shutil.copytree(ROOT / "kernels", folder / "fastclf/kernels", ignore=shutil.ignore_patterns("__pycache__"))
        for file in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / file, folder)
        path = folder / (fault.file if not fault.file.startswith("kernels/") else f"fastclf/{fault.file}")
        text = path.read_text(encoding="utf-8")
        if text.count(fault.right) != 1:
            raise ValueError(f"{fault.file} has {text.count(fault.right)} times: {fault.right}")
        path.write_text(text.replace(fault.right, fault.wrong), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *fault.tests.split()]
        kept = str(folder / "cache") if fault.file.startswith("kernels/") else cache
        environment = os.environ | {"PYTHONPATH": name, "FASTCLF_CACHE_DIR": kept}
        try:
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode not in (0, 1):
            raise RuntimeError(f"the tests of {fault} can not be run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.returncode == 0


def main(words: list[str]) -> int:
    chosen = [f for f in FAULTS if not words or any(word in f.file or word in f.right for word in words)]
    left = []
    with tempfile.TemporaryDirectory() as cache, ThreadPoolExecutor(os.cpu_count()) as pool:
        for i, (fault, survived) in enumerate(zip(chosen, pool.map(partial(survives, cache=cache), chosen)), 1):
            if survived:
                left.append(fault)
            print(
                f"{i}/{len(chosen)} {'SURVIVED' if survived else 'caught'}: {fault.file}: {fault.right[:70]!r}",
                flush=True,
            )
    print(f"{len(chosen) - len(left)} of {len(chosen)} faults are caught")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
