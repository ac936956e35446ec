"""Models as torch modules and ONNX files, and torch modules as models.

All of fastclf's models are Linear layers with ReLU between them, so that a module is a list of layers and what is on top of
them. A model's class makes such a list of it, and a model of the list; here the list becomes a ``Sequential``, or is read
from one.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..inputs import as_theta, check_finite
from .files import replacing
from .kinds import kind_of
from .layers import Layer, layers_of_theta

_CHATTER = ("torch.onnx", "onnxscript", "onnx_ir")  # loggers


def _needed(package: str, extra: str) -> Any:
    """The package, imported; the error says how to install it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise ImportError(f"this needs {package}: pip install 'fastclf[{extra}]'") from error


# ---------------------------------------------------------------- to torch


def to_torch(model: Any, *, logits: bool = False) -> Any:
    """A torch module with a model's outputs, which takes samples as rows.

    Parameters
    ----------
    model : one of fastclf's models, or tuple
        Not a subclass's. A tuple is (theta, losses), what ``train_model`` returned: the module takes samples without a
        bias column; of one column of theta, its output is the sigmoid's, of several the softmax's.
    logits : bool
        Leave the final softmax or sigmoid out.

    Returns
    -------
    torch.nn.Sequential

    Raises
    ------
    ImportError
        If torch is not installed.
    TypeError, ValueError
        If the model is of another class, or theta is not a finite matrix of at least two rows.
    """
    return _module(*_taken_apart(model), logits)


def _taken_apart(model: Any) -> tuple[list[Layer], str | None]:
    """The layers of a model, or of what ``train_model`` returned, and what is on top of them."""
    if isinstance(model, tuple):
        theta, _ = model
        return layers_of_theta(as_theta(theta))
    kind_of(model)
    layers, top = model._layers()
    return layers, top


def _module(layers: list[Layer], top: str | None, logits: bool) -> Any:
    torch = _needed("torch", "torch")
    nn, steps = torch.nn, []
    for layer in layers:
        weight, bias = torch.tensor(layer["weight"]), torch.tensor(layer["bias"])
        # The usual initialisation would draw from torch's global generator.
        linear = nn.utils.skip_init(nn.Linear, *reversed(weight.shape), dtype=weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        steps += [linear, nn.ReLU()]
    tops = {"softmax": [nn.Softmax(dim=1)], "sigmoid": [nn.Sigmoid()], None: []}
    return nn.Sequential(*steps[:-1], *tops[None if logits else top])


# ---------------------------------------------------------------- from torch


def layers_of_module(module: Any) -> tuple[list[Layer], str | None]:
    """The Linear layers of a torch module, and "softmax", "sigmoid" or None for what is on top of them.

    Raises
    ------
    ImportError
        If torch is not installed.
    TypeError, ValueError
        If the module is anything but Linear layers with ReLU between them; the message says where.
    """
    nn = _needed("torch", "torch").nn
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
    for i, (place, step) in enumerate(steps):
        wanted = nn.ReLU if i % 2 else nn.Linear
        if type(step) is not wanted:
            raise ValueError(
                f"module must be Linear layers with ReLU between them, got {type(step).__name__} at {place} instead of "
                f"{wanted.__name__}"
            )
    if len(steps) % 2 == 0:
        raise ValueError(f"module must have a Linear layer after the last ReLU, {steps[-1][0]}")
    return [_layer(step, place) for place, step in steps[::2]], top


def _steps(module: Any, place: str, nn: Any) -> Iterator[tuple[str, Any]]:
    """What a module does, one after the other, and where it stands."""
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
    """Weight and bias as arrays, copied."""
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
    """Write a model as an ONNX file.

    Parameters
    ----------
    model : one of fastclf's models
        Not a subclass's.
    path : str or os.PathLike
    logits : bool
        Leave the final softmax or sigmoid out.
    """
    module = to_torch(model, logits=logits)
    for package in ("onnx", "onnxscript"):
        _needed(package, "onnx")
    is_scores = type(module[-1]).__name__ == "Linear"
    proto = _exported(module, "scores" if is_scores else "probabilities")
    if (classes := getattr(model, "classes_", None)) is not None:
        proto.metadata_props.add(key="classes", value=json.dumps(classes.tolist()))
    with replacing(path) as file:
        file.write(proto.SerializeToString())


def _exported(module: Any, output: str) -> Any:
    """The ONNX model of a module, for any number of samples."""
    import torch

    first = module[0]
    sample = torch.zeros(2, first.in_features, dtype=first.weight.dtype)  # one would be taken for any batch's size
    with _quiet():
        program = torch.onnx.export(
            module.eval(), (sample,), input_names=["X"], output_names=[output], verbose=False, dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )  # fmt: skip
    proto = program.model_proto
    # What torch notes beside each step tells of the exporting machine, its folders among them.
    for part in (*proto.graph.node, *proto.graph.input, *proto.graph.output, *proto.graph.value_info):
        part.ClearField("metadata_props")
    return proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter has to say to its developers."""
    levels = {name: logging.getLogger(name).level for name in _CHATTER}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in levels:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
