"""Conversion of models to torch modules and ONNX files, and of torch modules to models.

All of fastclf's models are Linear layers with one activation between them: a list of layers, the activation, and the
function on top of the last layer. A model's class converts a model to this list and back. This module converts the list to a
``Sequential`` and back.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from ..inputs import as_theta, check_finite
from .files import replacing
from .kinds import kind_of
from .layers import Layer, layers_of_theta

_OPSET, _IR_VERSION = 17, 8  # versions of ONNX from 2022, which programs that read ONNX support by now
_OPERATORS = {"relu": "Relu", "tanh": "Tanh", "logistic": "Sigmoid", "identity": "Identity"}  # of ONNX


@contextlib.contextmanager
def _needs(package: str) -> Iterator[None]:
    """Turn a failed import in the ``with`` block into an error that names the extra to install."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ImportError(f"this needs {package}: pip install 'fastclf[{package}]'") from error


# ---------------------------------------------------------------- to torch


def to_torch(model: Any, *, logits: bool = False) -> Any:
    """A torch module that computes a model's outputs for samples as rows: see ``Portable.to_torch``.

    The model may also be (theta, losses), the result of ``train_model``. Its module takes samples without a bias column.
    The module ends in a sigmoid if theta has one column, in a softmax if theta has several.
    """
    return _module(*_taken_apart(model), logits)


def _taken_apart(model: Any) -> tuple[list[Layer], str | None, str]:
    """The layers of a model, or of the result of ``train_model``, the function on top of them, and the activation."""
    if isinstance(model, tuple):
        theta, _ = model
        return *layers_of_theta(as_theta(theta)), "relu"
    kind_of(model)
    layers, top = model._layers()
    return layers, top, model._activation


def _modules(nn: Any) -> dict[str, Any]:
    """The torch module of each activation; the identity has none."""
    return {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid}


def _module(layers: list[Layer], top: str | None, activation: str, logits: bool) -> Any:
    with _needs("torch"):
        import torch
        from torch import nn
    steps: list[Any] = []
    for layer in layers:
        weight, bias = torch.tensor(layer["weight"]), torch.tensor(layer["bias"])
        # The usual initialisation would draw from torch's global generator.
        linear = nn.utils.skip_init(nn.Linear, *reversed(weight.shape), dtype=weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        between = [] if activation == "identity" else [_modules(nn)[activation]()]
        steps += [*between, linear] if steps else [linear]
    tops = {"softmax": [nn.Softmax(dim=1)], "sigmoid": [nn.Sigmoid()], None: []}
    return nn.Sequential(*steps, *tops[None if logits else top])


# ---------------------------------------------------------------- from torch


def layers_of_module(module: Any, allowed: Collection[str] = ("relu",)) -> tuple[list[Layer], str | None, str]:
    """The Linear layers of a torch module, the function on top of them ("softmax", "sigmoid" or None), and the activation.

    Raises TypeError or ValueError if the module is not Linear layers with one of the ``allowed`` activations between them;
    the message says where.
    """
    with _needs("torch"):
        from torch import nn
    tops = {nn.Softmax: "softmax", nn.LogSoftmax: "softmax", nn.Sigmoid: "sigmoid"}
    all_steps = _steps(module, "module", nn)
    steps = [(place, step) for place, step in all_steps if type(step) not in (nn.Dropout, nn.Identity)]
    if steps and type(steps[0][1]) is nn.Flatten:
        _check_dims(*steps.pop(0), start_dim=(1,), end_dim=(-1,))
    top = None
    if steps and type(steps[-1][1]) in tops:
        place, step = steps.pop()
        top = tops[type(step)]
        if top == "softmax":
            _check_dims(place, step, dim=(1, -1, None))
    if not steps:
        raise ValueError("module must have a Linear layer, got none")
    kinds = {kind: name for name, kind in _modules(nn).items() if name in allowed}
    names = " or ".join(kind.__name__ for kind in kinds)
    linears: list[tuple[str, Any]] = []
    between: list[str] = []
    for place, step in steps:
        follows = len(linears) > len(between)  # a Linear layer
        if type(step) is nn.Linear and follows and "identity" in allowed:
            between.append("identity")
            linears.append((place, step))
        elif type(step) is nn.Linear and not follows:
            linears.append((place, step))
        elif type(step) in kinds and follows:
            between.append(kinds[type(step)])
        else:
            raise ValueError(
                f"module must be Linear layers with {names} between them, got {type(step).__name__} at {place} instead of "
                f"{names if follows else 'Linear'}"
            )
    if len(linears) == len(between):
        place, step = steps[-1]
        raise ValueError(f"module must have a Linear layer after the last {type(step).__name__}, {place}")
    if len({*between}) > 1:
        raise ValueError(f"module must have the same activation between all layers, got {', '.join(between)}")
    return [_layer(step, place) for place, step in linears], top, between[0] if between else "relu"


def _steps(module: Any, place: str, nn: Any) -> Iterator[tuple[str, Any]]:
    """Yields the submodules of nested Sequentials in order, each with its place, such as "module[0][1]"."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"{place} must be a torch.nn.Sequential, got {type(module).__name__}")
    if type(module) is not nn.Sequential:
        yield place, module
        return
    for i, child in enumerate(module):
        yield from _steps(child, f"{place}[{i}]", nn)


def _check_dims(place: str, step: Any, **allowed: tuple[int | None, ...]) -> None:
    for name, values in allowed.items():
        if (given := getattr(step, name)) not in values:
            raise ValueError(f"{name} of {type(step).__name__} at {place} must be {values[0]}, got {given}")


def _layer(linear: Any, place: str) -> Layer:
    """Copies of the weight and the bias as arrays; a missing bias is 0."""
    arrays: Layer = {}
    for name in ("weight", "bias"):
        tensor = getattr(linear, name)
        if tensor is None:
            arrays[name] = np.zeros_like(arrays["weight"][:, 0])
            continue
        if str(tensor.dtype) not in ("torch.float32", "torch.float64"):
            raise ValueError(f"{name} of {place} must be float32 or float64, got {tensor.dtype}: use module.float()")
        if tensor.is_meta:
            raise ValueError(f"{name} of {place} must have values, got a tensor on the device meta")
        arrays[name] = tensor.detach().cpu().numpy().copy()
        check_finite(arrays[name], f"{name} of {place}")
    return arrays


# ---------------------------------------------------------------- ONNX


def to_onnx(model: Any, path: str | os.PathLike[str], *, logits: bool = False) -> None:
    """Write a model, or the result of ``train_model``, as an ONNX file: see ``Portable.to_onnx``."""
    layers, top, activation = _taken_apart(model)
    with _needs("onnx"):
        from onnx import helper, numpy_helper
    top = None if logits else top
    nodes, arrays, data = [], [], "X"
    for i, layer in enumerate(layers):
        names = f"weight_{i}", f"bias_{i}"
        arrays += [numpy_helper.from_array(np.ascontiguousarray(layer[name[:-2]]), name) for name in names]
        scores = "scores" if i == len(layers) - 1 else f"scores_{i}"
        nodes.append(
            helper.make_node("Gemm", [data, *names], [scores], transB=1)
        )  # samples times the weights, transposed
        data = f"hidden_{i}"
        nodes.append(helper.make_node(_OPERATORS[activation], [scores], [data]))
    nodes.pop()  # the last layer has no activation
    output = "scores"
    if top is not None:
        output, options = "probabilities", {"axis": 1} if top == "softmax" else {}
        nodes.append(
            helper.make_node({"softmax": "Softmax", "sigmoid": "Sigmoid"}[top], ["scores"], [output], **options)
        )
    kind = helper.np_dtype_to_tensor_dtype(layers[0]["weight"].dtype)
    ends = [
        helper.make_tensor_value_info(name, kind, ["batch", width])
        for name, width in (("X", layers[0]["weight"].shape[1]), (output, len(layers[-1]["bias"])))
    ]
    graph = helper.make_graph(nodes, "fastclf", ends[:1], ends[1:], arrays)
    opset = [helper.make_opsetid("", _OPSET)]
    proto = helper.make_model(graph, producer_name="fastclf", opset_imports=opset, ir_version=_IR_VERSION)
    if (classes := getattr(model, "classes_", None)) is not None:
        proto.metadata_props.add(key="classes", value=json.dumps(classes.tolist()))
    with replacing(path) as file:
        file.write(proto.SerializeToString())
