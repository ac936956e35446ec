"""How kernels are compiled, cached and called."""

import inspect
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numba
import numpy as np
import pytest
from numba import types
from numba.core import config
from tqdm import tqdm

from fastclf.kernels import (
    cache,
    check,
    gather,
    jit,
    kernel,
    linear,
    matmul,
    mlp,
    numba_pool,
    sgd,
    simd,
    softmax,
    sparse,
    team,
    update,
)
from fastclf.kernels.jit import AT, COMPILED, FLAG, IN1, INT, OUT1

from ..helpers import DTYPES, in_new_process

SOURCES = Path(jit.__file__).parent
MODULES = (check, gather, linear, matmul, mlp, numba_pool, sgd, softmax, sparse, team, update)


def test_every_kernel_is_listed():
    found = [v for module in MODULES for v in vars(module).values()]
    found = [v.routine if isinstance(v, jit.InShares) else v for v in found]
    assert {v.name: v for v in found if isinstance(v, jit.Compiled)} == COMPILED


def test_no_flag_changes_a_rounding_or_hides_a_nan():
    assert jit.FLAGS["fastmath"] == jit.FASTMATH
    assert not jit.FASTMATH & {"fast", "nnan", "ninf", "reassoc", "contract", "arcp", "afn"}
    assert jit.FLAGS["error_model"] == "numpy"
    assert jit.FLAGS["nogil"]


# ---------------------------------------------------------------- declarations


def double(x, out):
    for i in range(x.shape[0]):
        out[i] = 2 * x[i]


@pytest.mark.parametrize(
    "specs",
    [
        {"x": IN1},
        {"out": OUT1, "x": IN1},
        {"x": IN1, "result": OUT1},
        {"x": IN1, "out": OUT1, "n": INT},
    ],
    ids=["too few", "another order", "another name", "too many"],
)
def test_declarations_must_fit_the_parameters(specs):
    with pytest.raises(TypeError, match=r"double: parameters \('x', 'out'\), declared"):
        kernel.kernel(**specs)(double)
    assert not any("double" in name for name in COMPILED)


@pytest.fixture
def doubling(monkeypatch):
    """A kernel that nobody else knows, compiled in memory."""
    monkeypatch.setattr(jit, "COMPILED", {})
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    return kernel.kernel(x=IN1, out=OUT1)(double)


def test_a_kernel_is_compiled_once_for_each_dtype(doubling, monkeypatch):
    lines = []
    monkeypatch.setattr(jit, "announce", lines.append)
    for _ in range(2):
        for dtype in DTYPES:
            out = np.zeros(3, dtype)
            doubling(np.arange(3, dtype=dtype), out)
            assert out.tolist() == [0, 2, 4]
    assert [line.split(" (")[0] for line in lines] == [f"fastclf: compiling test_jit.double for {d}" for d in DTYPES]
    assert len(doubling._ready) == 2


@pytest.mark.parametrize("loaded", [True, False])
def test_the_sentence_stands_alone_beside_a_bar(loaded, capsys, monkeypatch):
    if not loaded:
        monkeypatch.delitem(sys.modules, "tqdm", raising=False)
        jit.announce("compiling")
        assert capsys.readouterr().err == "compiling\n"
        return
    with tqdm(total=2, mininterval=0) as bar:
        bar.update()
        jit.announce("compiling")
        bar.update()
    shown = capsys.readouterr().err
    assert "\rcompiling\n" in shown.replace("\r\r", "\r")
    assert shown.rstrip().count("\n") == 1  # the bar is one line, before and after
    assert "2/2" in shown.rpartition("\r")[2]


@pytest.mark.parametrize(
    "x",
    [np.arange(6.0)[::2], np.arange(3), np.zeros((3, 1)), np.zeros(3, np.float16), np.zeros(3, ">f8"), [1.0, 2.0, 3.0]],
    ids=["strided", "integers", "two-dimensional", "half", "big-endian", "a list"],
)
def test_nothing_else_is_compiled_silently(doubling, x):
    out = np.zeros(3)
    doubling(np.zeros(3), out)
    with pytest.raises((TypeError, AttributeError, KeyError, ValueError, NotImplementedError)):
        doubling(x, out)
    assert len(doubling._ready) == 1
    assert out.tolist() == [0, 0, 0]


def test_what_a_kernel_reads_may_be_read_only_and_what_it_writes_not(doubling):
    x, out = np.ones(3), np.zeros(3)
    x.flags.writeable = False
    doubling(x, out)
    assert out.tolist() == [2, 2, 2]
    out.flags.writeable = False
    with pytest.raises(TypeError):
        doubling(x, out)


# ---------------------------------------------------------------- records


class Pair(NamedTuple):
    x: "IN1"
    factor: "INT"


def multiplied(pair, out):
    for i in range(pair.x.shape[0]):
        out[i] = pair.factor * pair.x[i]


@pytest.fixture
def multiplying(monkeypatch):
    """A kernel that takes a record."""
    monkeypatch.setattr(jit, "COMPILED", {})
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    return kernel.kernel(pair=Pair, out=OUT1)(multiplied)


@pytest.mark.parametrize("readonly", [False, True])
def test_a_records_arrays_are_taken_as_a_kernels_own(multiplying, dtype, readonly):
    x, out = np.arange(3, dtype=dtype), np.zeros(3, dtype)
    x.flags.writeable = not readonly
    multiplying(Pair(x, 3), out)
    assert out.tolist() == [0, 3, 6]
    with pytest.raises(TypeError):
        multiplying(Pair(x[::2], 3), out)
    with pytest.raises(TypeError):
        multiplying(Pair(x, 3), out.astype(int))
    with pytest.raises(TypeError):
        multiplying(Pair(x, x), out)
    assert out.tolist() == [0, 3, 6]
    assert len(multiplying._ready) == 1


def test_a_kernel_with_records_is_known_by_its_own_name(multiplying):
    assert multiplying.name == "test_jit.multiplied"
    assert [*multiplying.specs] == ["pair_x", "pair_factor", "out"]
    with pytest.raises(TypeError, match=r"multiplied: parameters \('pair', 'out'\), declared"):
        kernel.kernel(pair=Pair, x=IN1)(multiplied)


@pytest.mark.parametrize("name", COMPILED)
def test_signatures_follow_the_dtype(name):
    code = COMPILED[name]
    for dtype in code.dtypes:
        sig = code.signature(dtype)
        given = [a.record if isinstance(a, jit.AtRecord) else a for a in sig]
        flat = [t for a in given for t in (a.types if isinstance(a, types.BaseTuple) else (a,))]
        numbers = {getattr(t, "dtype", t) for t in flat}
        reals = numbers & {types.float32, types.float64}
        real = types.float32 if dtype == str(jit.PAIR) else getattr(types, dtype)
        assert dtype == "int64" or real in reals or numbers >= {jit.PAIR}
        assert reals <= {real, types.float64}  # losses are always float64
        assert (jit.PAIR in numbers) == (dtype == str(jit.PAIR))
        assert all(t.layout == "C" for t in sig if isinstance(t, types.Array))
        assert len(sig) == len(inspect.signature(code.__wrapped__).parameters)


# ---------------------------------------------------------------- routines


def scale(x, n, factor, q, workers):
    first, end = jit.share(n, q, workers)
    for i in range(first, end):
        x[i] *= factor + q


@pytest.fixture
def scaling(monkeypatch):
    """A routine in shares, and a kernel that calls it."""
    monkeypatch.setattr(jit, "COMPILED", {})
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    shares = jit.in_shares(x=AT, n=INT, factor=jit.REAL)(scale)

    def scale_all(x, n, team):
        shares(team, simd.at(x, 0), n, 2)

    return kernel.kernel(x=OUT1, n=INT)(scale_all)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_team_shares_a_routine(scaling, dtype, threads):
    x = np.ones(7, dtype)
    scaling(x, 7, threads=threads)
    assert x.tolist() == ([2] * 7 if threads == 1 else [2] * 3 + [3] * 4)


def test_a_kernel_knows_the_routines_it_needs(scaling):
    assert [r.name for r in scaling.needs] == ["test_jit.scale"]
    assert {r.name for r in mlp.run.needs} >= {
        "mlp.first_layer",
        "mlp.forward_backward",
        "mlp.update_weights",
        "update.squares",
    }
    assert {r.name for r in COMPILED["mlp.update_weights"].needs} == {"matmul.outer", "update.take_step"}
    assert {r.name for r in COMPILED["mlp.forward_backward"].needs} == {
        "activation.through_activation",
        "gather.to_operands",
        "operands.round_across",
        "operands.round_along",
        "mlp.layer",
        "matmul.outer",
        "softmax.output_layer",
    }
    assert {r.name for r in COMPILED["mlp.layer"].needs} == {"matmul.forward", "matmul.outer"}


class Whole(NamedTuple):
    """A record with numbers, an address and another record."""

    x: "AT"
    n: "INT"
    halved: "FLAG"
    inner: "Pair"


def from_the_whole(whole, q, workers):
    first, end = jit.share(whole.n, q, workers)
    for i in range(first, end):
        whole.x[i] = whole.inner.x[i] * (whole.inner.factor / 2 if whole.halved else whole.inner.factor)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("halved", [False, True])
def test_a_record_is_passed_by_its_address(monkeypatch, dtype, threads, halved):
    monkeypatch.setattr(jit, "COMPILED", {})
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    shares = jit.in_shares(whole=jit.AT_RECORD(Whole))(from_the_whole)

    def all_of_it(x, out, halved, team):
        for factor in (3, 5):  # the second record takes the first one's memory
            shares(team, jit.address_of(Whole(simd.at(out, 0), out.shape[0], halved, Pair(x, factor))))

    x, out = np.arange(7, dtype=dtype), np.zeros(7, dtype)
    kernel.kernel(x=IN1, out=OUT1, halved=FLAG)(all_of_it)(x, out, halved, threads=threads)
    assert out.tolist() == [2.5 * i if halved else 5 * i for i in range(7)]


def test_an_inlined_function_is_compiled_once_and_never_to_machine_code():
    @jit.inlined
    def times(x, n):
        return x * n

    @numba.njit
    def some_products(x):
        return times(x, 2) + times(3, x) + times(4, 5)

    assert some_products(10) == 20 + 30 + 20
    assert times.signatures == [(types.int64, types.int64)]
    (compiled,) = times.overloads.values()
    assert compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name) == 0


def test_a_routine_is_for_kernels():
    with pytest.raises(TypeError, match=r"matmul\.forward is called by kernels only"):
        matmul.forward(1)
    with pytest.raises(TypeError, match=r"mlp\.forward_backward is called by kernels only"):
        mlp.forward_backward(1)
    with pytest.raises(TypeError, match=r"its last parameters must be q and workers"):
        jit.InShares(matmul.forward)


def test_names_are_unique(doubling):
    """Two functions of one name would read each other's machine code."""
    with pytest.raises(ValueError, match=r"there are two test_jit\.double"):
        kernel.kernel(x=IN1, out=OUT1)(double)


@pytest.mark.parametrize("name", COMPILED)
def test_another_dtype_is_refused(name):
    with pytest.raises(TypeError, match=r"is for .*, got float16"):
        COMPILED[name].compile(np.float16)


# ---------------------------------------------------------------- where the cache is


@pytest.mark.parametrize(
    ("ours", "numbas", "xdg", "expected"),
    [
        ("ours", "numbas", "xdg", "ours"),
        (None, "numbas", "xdg", "numbas/fastclf"),
        (None, "", "xdg", "xdg/fastclf"),
        (None, "", None, "~/.cache/fastclf"),
    ],
)
def test_the_root_of_the_cache(ours, numbas, xdg, expected, monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(config, "CACHE_DIR", numbas)
    for name, value in (("FASTCLF_CACHE_DIR", ours), ("XDG_CACHE_HOME", xdg)):
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name, raising=False)
    assert cache.cache_root() == Path(expected).expanduser()


@pytest.fixture
def fresh_folder(monkeypatch, tmp_path):
    """``cache_folder`` without its memory, for a root of our own."""
    monkeypatch.setenv("FASTCLF_CACHE_DIR", str(tmp_path / "root"))
    return cache.cache_folder.__wrapped__


def test_the_folder_is_named_by_the_digest(fresh_folder, tmp_path):
    assert fresh_folder() == tmp_path / "root" / cache.source_digest()
    assert fresh_folder().is_dir()


def test_old_versions_are_removed_and_nothing_else(fresh_folder, tmp_path):
    """The root may be any folder of the user's: what is not ours stays."""
    root = tmp_path / "root"
    old = [f"{i:016x}" for i in range(12)]
    others = ["documents", "0123456789abcdeg", "0123456789abcdef0"]
    for age, name in enumerate(others + old):
        (root / name).mkdir(parents=True)
        (root / name / "file").write_text("content")
        os.utime(root / name, (age, age))
    (root / "notes.txt").write_text("content")
    current = fresh_folder()
    left = {path.name for path in root.iterdir()}
    assert current.name in left
    assert left >= {*others, "notes.txt"}
    assert (left & set(old)) == set(old[-(cache._KEPT_DIGESTS - 1) :])


# ---------------------------------------------------------------- what the cache notices


@pytest.fixture
def kernels_copy(tmp_path):
    """The kernels' sources as a package of another name, to be edited."""
    package = tmp_path / "kernels_copy"
    shutil.copytree(SOURCES, package, ignore=shutil.ignore_patterns("__pycache__"))
    return package


def digest_of_every_edit(folder):
    import sys
    from pathlib import Path

    sys.path.insert(0, folder)
    from kernels_copy import cache

    digest = cache.source_digest.__wrapped__
    before = digest()
    sources = sorted((Path(folder) / "kernels_copy").glob("*.py"))
    assert len(sources) > 5
    for source in sources:
        text = source.read_text()
        source.write_text(text + "\n# a comment\n")
        assert digest() != before, source
        source.write_text(text)
        assert digest() == before


def test_the_digest_changes_with_every_source(kernels_copy):
    in_new_process(digest_of_every_edit, str(kernels_copy.parent))


def compile_and_check(folder):
    import sys

    sys.path.insert(0, folder)
    import numpy as np
    from kernels_copy import check

    for x in (np.ones(5), np.array([1, np.nan])):
        part = np.empty(1)
        check.all_finite(x, part, 1)
        assert np.isnan(part[0]) == np.isnan(x).any()
    assert check.all_finite.place(np.float64) == "cache"
    assert check.all_finite.place(np.float32) is None


def test_an_edit_of_a_helper_compiles_anew(kernels_copy, tmp_path):
    """Numba by itself looks at a kernel's own file only."""

    def is_compiled():
        done = in_new_process(compile_and_check, str(tmp_path), FASTCLF_CACHE_DIR=tmp_path / "cache")
        assert done.stderr.count("compiling") == done.stderr.count("compiling check.all_finite for float64 ") <= 1
        return "compiling" in done.stderr

    assert is_compiled()
    assert not is_compiled()
    source = kernels_copy / "tile.py"
    text = source.read_text()
    source.write_text(text + "\n# a comment\n")
    assert is_compiled()
    assert not is_compiled()
    source.write_text(text)
    assert not is_compiled()  # the old version is kept


def test_two_processes_may_compile_at_once(kernels_copy, tmp_path):
    def run(_):
        return in_new_process(compile_and_check, str(tmp_path), FASTCLF_CACHE_DIR=tmp_path / "cache")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, range(2)))
    assert "compiling" not in run(None).stderr


def compile_a_function_that_calls_a_routine():
    import numba
    import numpy as np

    from fastclf.kernels import jit, softmax
    from fastclf.kernels.simd import at

    @numba.njit(**jit.FLAGS)
    def loss(S):
        zero = S[0] * 0
        softmax.output_layer(at(S, 0), 0, 0, 1, 2, 16, True, False, True, True, False, zero, zero, zero, zero)
        return softmax.total_loss(S, 0, 1, 2, 16)

    assert np.isfinite(loss(np.zeros(softmax.block_size.py_func(2, 16))))


def test_a_function_of_somebodys_may_call_a_routine_that_is_not_compiled(tmp_path):
    """Numba's lock is then the caller's, and a compilation in another thread would wait for it for ever."""
    in_new_process(compile_a_function_that_calls_a_routine, FASTCLF_CACHE_DIR=tmp_path, timeout=60)


def train_without_a_cache():
    import warnings

    import numpy as np

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        from fastclf.inputs import check_finite
        from fastclf.kernels import cache, check

        check_finite(np.ones(70_000), "X")
        check_finite(np.ones(70_000, np.float32), "X")
        assert check.all_finite.place(np.float64) is None
    assert cache.cache_folder() is None
    said = [w for w in caught if issubclass(w.category, RuntimeWarning)]
    assert len(said) == 1
    assert "FASTCLF_CACHE_DIR" in str(said[0].message)


def test_without_a_cache_there_is_one_warning_and_everything_works(tmp_path):
    """A folder below a file can not be made, by root either."""
    (tmp_path / "file").write_text("")
    done = in_new_process(train_without_a_cache, FASTCLF_CACHE_DIR=tmp_path / "file" / "below")
    assert done.stderr.count("there is no cache") == 2


def compile_from_two_threads():
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    from fastclf.inputs import check_finite

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check_finite, [np.ones(70_000)] * 4, ["X"] * 4))


def test_threads_wait_for_one_compilation(tmp_path):
    done = in_new_process(compile_from_two_threads, FASTCLF_CACHE_DIR=tmp_path)
    assert done.stderr.count("compiling") == 1
