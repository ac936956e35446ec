"""Models in files: safetensors, with a JSON document that says what the tensors mean.

The document is the entry "fastclf" of the file's metadata: ``{"format": 1, "sha256": "…", "kind": "MLPClassifier",
"fastclf": "0.1.0", "content": …}``. The kind is looked up in a table of classes. The content is the state of a model of
that class, in the encoding of ``codec``. Nothing in a file is ever executed or imported.

The checksum covers the tensors, and the document without the checksum. It detects damage, but not malice: ``load`` checks
every file as if an attacker had written it. ``save`` does the same checks before writing, so a saved file can be loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import reprlib
from collections.abc import Callable, Collection
from importlib.metadata import version
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from .codec import Decoder, Encoder
from .files import as_path, replacing
from .kinds import CLASSES, kind_of
from .layers import entries, is_number

FORMAT = 1  # counts up when files change in a way that older versions would misread
_KEY = "fastclf"
_RESULT = "train_model"

_Model = TypeVar("_Model")


def save(model: Any, path: str | os.PathLike[str]) -> None:
    """Write a model, or the result of ``train_model``, to a file.

    The file is in the safetensors format. It holds everything that outputs and further training depend on, such as an
    estimator's parameters, fitted attributes, optimiser and averages. An estimator need not be fitted. The last forward
    pass of the lab's classes is not saved. Until the new file is complete, an old file of the same name stays unchanged.

    Parameters
    ----------
    model : ImageLinearClassifier, MLPClassifier, DeepMLPClassifier, FastLinearClassifier, FastMLPClassifier or tuple
        Instances of subclasses can not be saved. A tuple is (theta, losses), as ``train_model`` returns it.
    path : str or os.PathLike
        The exact name of the file: no suffix is appended.

    Raises
    ------
    TypeError
        If the model is of another class, or a file can not hold a parameter, such as a function; the message names it.
    ValueError
        If the model is in a state that no training produces, or ``path`` is a folder or a device.
    OSError
        If the file can not be written.
    """
    kind = _RESULT if isinstance(model, tuple) else kind_of(model)
    data = _encoded(kind, _state_of_result(model) if kind == _RESULT else model._state())
    try:
        _unpacked(data)
    except _NOT_A_MODEL as error:
        raise ValueError(f"{kind} can not be saved: {error}") from error
    with replacing(path) as file:
        file.write(data)


@overload
def load(path: str | os.PathLike[str], kind: None = None) -> Any: ...


@overload
def load(path: str | os.PathLike[str], kind: type[_Model]) -> _Model: ...


def load(path: str | os.PathLike[str], kind: type[Any] | None = None) -> Any:
    """Load the model in a file that ``save`` has written.

    The loaded model's outputs are the same bits, and further training gives what the saved model's would give. Files from
    any source are safe to load: nothing in a file is executed, and a damaged or invalid file is refused.

    Parameters
    ----------
    path : str or os.PathLike
    kind : type, optional
        The class that the model must be of, or ``tuple``. With it, type checkers know what comes back.

    Returns
    -------
    model
        A model of the saved model's class; or the tuple (theta, losses), an ndarray and a list of float.

    Raises
    ------
    ValueError
        If the file is incomplete or invalid, if its model is not of the class ``kind``, or if reading the file needs a newer
        version of fastclf.
    TypeError
        If ``path`` is neither a str nor an os.PathLike, or ``kind`` is not a class.
    OSError
        If the file does not exist, or can not be read.
    """
    if kind is not None and not isinstance(kind, type):
        raise TypeError(f"kind must be a class, got {reprlib.repr(kind)}")
    model = _loaded(path, _unpacked)
    if kind is not None and not isinstance(model, kind):
        raise ValueError(f"kind is {kind.__name__}, but {os.fspath(path)!r} holds a {type(model).__name__}")
    return model


def write_values(path: Any, kind: str, values: dict[str, Any]) -> None:
    """Write values that are no model, under a ``kind`` of their own; for the values that ``codec`` can encode."""
    data = _encoded(kind, values)
    with replacing(path) as file:
        file.write(data)


def read_values(path: Any, kind: str) -> dict[str, Any]:
    """The values that ``write_values`` has written; ValueError if the file is damaged, or of another kind."""

    def values(data: bytes) -> dict[str, Any]:
        document, tensors = _read(data, (kind,))
        decode = Decoder(tensors)
        return {key: decode(value) for key, value in document["content"].items()}

    return _loaded(path, values)


def _loaded(path: Any, unpacked: Callable[[bytes], Any]) -> Any:
    """What the function ``unpacked`` makes of the bytes of a file."""
    name = as_path(path)
    if name.exists() and not name.is_file() and not name.is_dir():
        raise ValueError(f"path must be that of a file, got {str(name)!r}")  # a device may have no end
    data = name.read_bytes()  # not mapped: a file that shrinks while it is read must not end the process
    try:
        return unpacked(data)
    except _NOT_A_MODEL as error:
        raise ValueError(f"{str(name)!r} can not be loaded: {error}") from error


_NOT_A_MODEL = (ValueError, TypeError, OverflowError, RecursionError)  # what decoding invalid content may raise


def _encoded(kind: str, content: dict[str, Any]) -> bytes:
    encode = Encoder()
    document = {
        "format": FORMAT,
        "sha256": "",
        "kind": kind,
        "fastclf": version("fastclf"),
        "content": {name: encode(value, name) for name, value in content.items()},
    }
    return _packed(document, encode.tensors)


def _packed(document: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> bytes:
    from safetensors.numpy import save as packed

    checksum = _checksum(json.dumps(document), tensors)
    return packed(tensors, {_KEY: json.dumps({**document, "sha256": checksum}, allow_nan=False)})


def _checksum(text: str, tensors: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(tensors.items()):
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _unpacked(data: bytes) -> Any:
    """The model that the bytes of a file describe."""
    document, tensors = _read(data, (*CLASSES, _RESULT))
    content, decode = document["content"], Decoder(tensors)
    values = {name: decode(value) for name, value in content.items()}
    kind = document["kind"]
    model = _result(values) if kind == _RESULT else CLASSES[kind]()._from_state(values)
    if decode.tensors:
        raise ValueError(f"nothing refers to its tensors {reprlib.repr(sorted(decode.tensors))}")
    return model


def _read(data: bytes, kinds: Collection[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The document and the tensors, checked for damage; the content is not checked yet."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as tensors_of

    try:
        tensors = tensors_of(data)
    except (SafetensorError, KeyError, ValueError) as error:  # KeyError: a dtype that NumPy does not have
        raise ValueError(f"it is not a whole safetensors file: {error}") from error
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    text = (header.get("__metadata__") or {}).get(_KEY)
    if text is None:
        raise ValueError("it is a safetensors file, but none that fastclf has written")
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise ValueError(f"its document is not JSON: {error}") from error
    if not isinstance(document, dict) or type(document.get("format")) is not int or document["format"] < 1:
        raise ValueError(f'its document must be an object with a "format", got {reprlib.repr(document)}')
    if document["format"] > FORMAT:
        raise ValueError(
            f"it has format {document['format']}, and fastclf {version('fastclf')} reads up to {FORMAT}: update fastclf"
        )
    entries(document, "its document", ("format", "sha256", "kind", "fastclf", "content"))
    checksum = document["sha256"]
    if not isinstance(checksum, str) or checksum != _checksum(text.replace(checksum, "", 1), tensors):
        raise ValueError("it is damaged: its checksum is another")
    if document["kind"] not in kinds:
        what = "a checkpoint" if "checkpoint" in kinds else "a model"
        raise ValueError(f"it is not {what}: its kind is {reprlib.repr(document['kind'])}")
    if not isinstance(document["content"], dict):
        raise ValueError(f'"content" must be an object, got {reprlib.repr(document["content"])}')
    return document, tensors


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


# ---------------------------------------------------------------- what train_model returns


def _state_of_result(result: tuple[Any, ...]) -> dict[str, Any]:
    if len(result) != 2:
        raise TypeError(f"model must be a model or the tuple (theta, losses), got a tuple of {len(result)}")
    theta, losses = result
    if not isinstance(theta, np.ndarray):
        raise TypeError(f"theta must be an array, got {type(theta).__name__}")
    if not isinstance(losses, list) or not all(map(is_number, losses)):
        raise TypeError(f"losses must be a list of numbers, got {reprlib.repr(losses)}")
    return {"theta": theta, "losses": [float(loss) for loss in losses]}


def _result(values: dict[str, Any]) -> tuple[NDArray[Any], list[float]]:
    entries(values, _RESULT, ("theta", "losses"))
    theta, losses = values["theta"], values["losses"]
    if not isinstance(theta, np.ndarray) or theta.dtype not in (np.float64, np.float32):
        raise ValueError(f"theta must be an array of float64 or float32, got {getattr(theta, 'dtype', theta)!r}")
    if theta.ndim != 2 or 0 in theta.shape:
        raise ValueError(f"theta must have shape (n + 1, c), got {theta.shape}")
    if not isinstance(losses, list) or not all(isinstance(loss, float) for loss in losses):
        raise ValueError(f"losses must be a list of floats, got {reprlib.repr(losses)}")
    return theta, losses
