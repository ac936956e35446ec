"""The house keeps its order: which module may import which, how many arguments a function takes, what lies where."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import fastclf
from fastclf import datasets, kernels, plots
from fastclf.kernels import linear, mlp, sgd, sparse
from fastclf.kernels.kernel import Kernel

ROOT = Path(fastclf.__file__).parent
KERNELS = Path(kernels.__file__).parent
FACE = "fastclf"

# From the bottom up: a module imports from its own floor's room, and from the floors below.
FLOORS = (
    ("fastclf.kernels", "fastclf.reference", "fastclf.datasets"),
    ("fastclf.engine",),
    ("fastclf.inputs",),
    ("fastclf.io",),
    ("fastclf.lab", "fastclf.estimators"),
    ("fastclf.plots",),
    ("fastclf.cli",),
    ("fastclf.__main__",),
)
ROOMS = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules():
    for top, name in ((ROOT, FACE), (KERNELS, f"{FACE}.kernels")):
        for path in sorted(top.rglob("*.py")):
            parts = path.relative_to(top).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            if "kernels" not in parts:  # an installed package has them inside; they come on their own
                yield ".".join((name, *(parts[:-1] if is_package else parts))), path, is_package


MODULES = {name: (ast.parse(path.read_text()), is_package) for name, path, is_package in modules()}


def imported(name):
    """The modules of ours that a module imports, at its top or in a function; for types alone does not count."""
    tree, is_package = MODULES[name]
    for_types = {
        node
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and getattr(branch.test, "id", "") == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    package = name.split(".") if is_package else name.split(".")[:-1]
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == FACE)
        if isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            target = ".".join([*base, *([node.module] if node.module else [])])
            if target.partition(".")[0] == FACE:
                whole = [f"{target}.{alias.name}" for alias in node.names]
                yield from (m if m in MODULES else target for m in whole)


def room_of(module):
    return next((room for room in ROOMS if module == room or module.startswith(f"{room}.")), None)


def test_the_rooms_are_those_that_the_plan_has():
    folders = {p.name for p in ROOT.iterdir() if p.is_dir()} - {"__pycache__", "kernels"}
    files = {p.name for p in ROOT.iterdir() if p.is_file()}
    assert folders == {"lab", "estimators", "engine", "io", "datasets", "plots", "cli"}
    assert files == {"__init__.py", "__main__.py", "py.typed", "reference.py", "inputs.py"}
    assert {room_of(name) for name in MODULES} == {*ROOMS, None}
    assert [name for name in MODULES if room_of(name) is None] == [FACE]


@pytest.mark.parametrize("name", MODULES)
def test_no_import_runs_backwards(name):
    """Neither upwards, nor into another room of the same floor, nor to the face, which knows them all."""
    own = room_of(name)
    for module in imported(name):
        if name == FACE:
            continue  # it may: nothing is above it
        assert module != FACE, f"{name} imports the face"
        room = room_of(module)
        assert room == own or ROOMS[room] < ROOMS[own], f"{name} imports {module}"


def test_no_ring_of_imports():
    """Within a room too, modules can be put into an order in which each imports only those before it."""
    waiting = {name: {m for m in imported(name) if m != name} for name in MODULES}
    while free := {name for name, needs in waiting.items() if not needs & waiting.keys()}:
        for name in free:
            del waiting[name]
    assert not {name: needs & waiting.keys() for name, needs in waiting.items()}


def test_modules_are_looked_up_by_name_in_the_face_alone():
    users = {
        name
        for name, (tree, _) in MODULES.items()
        for node in ast.walk(tree)
        if getattr(node, "attr", "") == "import_module"
    }
    assert users == {FACE}


def test_tests_are_collected_without_torch():
    """At its top, a module imports torch only after a line that skips it where torch is missing."""
    for path in Path(__file__).parent.rglob("*.py"):
        for statement in ast.parse(path.read_text()).body:
            if isinstance(statement, ast.Expr) and "importorskip('torch'" in ast.unparse(statement):
                break
            imports = isinstance(statement, (ast.Import, ast.ImportFrom))
            assert not (imports and re.search(r"\btorch", ast.unparse(statement))), f"{path}: {ast.unparse(statement)}"


# ---------------------------------------------------------------- arguments

MOST = 8  # beside self; and beside keyword-only options of the public API
PUBLIC = {getattr(module, name) for module in (fastclf, datasets, plots) for name in module.__all__}


def public_functions():
    for value in PUBLIC:
        yield value
        if inspect.isclass(value):
            yield from (f for n, f in inspect.getmembers(value, callable) if not n.startswith("_") or n == "__init__")


def test_few_arguments():
    lines = set()
    for function in public_functions():
        function = inspect.unwrap(function)
        if hasattr(function, "__code__"):
            lines.add((Path(function.__code__.co_filename).name, function.__name__))
    too_many = []
    for name, (tree, _) in MODULES.items():
        if name.startswith(f"{FACE}.kernels"):
            continue  # what Python calls of these, the next test looks at
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.Lambda)):
                given = node.args
                counted = [a.arg for a in (*given.posonlyargs, *given.args) if a.arg not in ("self", "cls")]
                called = getattr(node, "name", "lambda")
                if (f"{name.rpartition('.')[2]}.py", called) not in lines:
                    counted += [a.arg for a in given.kwonlyargs]
                if len(counted) > MOST:
                    too_many.append(f"{name}.{called}: {len(counted)}")
    assert not too_many


def test_kernels_take_few_arguments():
    found = [v for module in (mlp, linear, sgd, sparse) for v in vars(module).values() if isinstance(v, Kernel)]
    assert len(found) >= 6
    for kernel in found:
        assert len(inspect.signature(kernel._call).parameters) - 1 <= MOST + 1, kernel.name  # and the team
