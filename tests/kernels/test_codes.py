"""Numbers that Python and the kernels share stand in one place, which does not need Numba."""

import ast
from functools import reduce
from operator import or_
from pathlib import Path

import fastclf
from fastclf.kernels import codes, softmax

from ..helpers import in_new_process

SHARED = {name for name in vars(codes) if name.isupper()}


def assigned(source):
    """The names that a module sets at its top level."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            yield from (n.id for n in ast.walk(target) if isinstance(n, ast.Name)) if target else ()


def test_no_other_module_has_a_number_of_the_same_name():
    files = [*Path(fastclf.__file__).parent.rglob("*.py"), *Path(codes.__file__).parent.rglob("*.py")]
    again = {
        f"{path.name}: {name}"
        for path in files
        if path.name != "codes.py"
        for name in SHARED & {*assigned(path.read_text())}
    }
    assert len(files) > 40
    assert not again


def test_bits_and_positions_are_told_apart():
    for names in (
        ("FLOATS", "BYTES", "SINGLE", "DOUBLE"),
        ("FORWARD", "LOSS", "BACKWARD", "ADD", "HOLD", "MARK", "ABOVE", "LOWEST"),
        ("IN_PLACE", "MOMENTUM", "NESTEROV", "ADAM"),
        ("FACTOR", "AVERAGE_A", "AVERAGE_B", "L1_SUM", "ITERATES"),
    ):
        assert len({getattr(codes, name) for name in names}) == len(names)
    bits = [getattr(codes, name) for name in ("FORWARD", "LOSS", "BACKWARD", "ADD", "HOLD", "MARK", "ABOVE", "LOWEST")]
    assert sum(bits) == reduce(or_, bits)


def test_the_last_layers_block_holds_its_parts_one_behind_the_other():
    for c, width in ((1, 16), (10, 1008)):
        starts = [
            f.py_func(5, c, width)
            for f in (
                softmax.logits_at,
                softmax.probabilities_at,
                softmax.deltas_at,
                softmax.targets_at,
                softmax.classes_at,
                softmax.losses_at,
                softmax.weights_at,
                softmax.biases_at,
            )
        ]
        sizes = [*[c * width] * 4, *[width] * 3, 4 * c]
        assert [b - a for a, b in zip(starts, [*starts[1:], 5 + codes.output_block_size(c, width)])] == sizes


def needs_no_numba():
    import sys

    import fastclf.kernels.codes

    assert fastclf.kernels.codes.TRAIN == 7
    assert not {"numba", "llvmlite", "numpy"} & set(sys.modules)


def test_it_is_free_of_numba():
    in_new_process(needs_no_numba)
