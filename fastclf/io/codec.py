"""Encoding of Python values as JSON and tensors, and decoding: the part of a file that replaces a pickle.

None, bools, whole numbers, finite floats, strings and lists are plain JSON. Any other value is a JSON object of one
entry, whose key names the type: ``{"tuple": [1, 2]}``, ``{"float": "inf"}``. Arrays, and lists of floats, are tensors
beside the JSON, which refers to them by name. Whatever a file contains, decoding creates only these types of values: the
table at the end of this module lists them.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..inputs import check_sparse

_SPECIAL = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_SPARSE = ("csr_matrix", "csr_array")
_MT19937_WORDS = 624
_LAST_CHARACTER = 0x10FFFF


def check_words(words: Any, position: Any) -> None:
    """Raise ValueError unless these can be the state of an MT19937 generator.

    NumPy accepts any position, and would later read words outside the array.
    """
    valid = isinstance(words, np.ndarray) and words.dtype == np.uint32 and words.shape == (_MT19937_WORDS,)
    if not valid or type(position) is not int or not 0 <= position <= _MT19937_WORDS:
        raise ValueError("a RandomState must have 624 words and a position among them")


class Encoder:
    """Encodes values as JSON, and collects the tensors to which the JSON refers in ``tensors``."""

    def __init__(self) -> None:
        self.tensors: dict[str, NDArray[Any]] = {}

    def __call__(self, value: Any, name: str) -> Any:
        """The value as JSON. ``name`` names the value in error messages, and its tensor.

        Raises TypeError if the value, or one inside it, is of a type that a file can not hold.
        """
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return value
        if kind is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if kind is list and value and all(type(v) is float for v in value):
            return {"floats": self._tensor(np.array(value), name)}
        if kind in (list, tuple):
            items = [self(v, f"{name}.{i}") for i, v in enumerate(value)]
            return items if kind is list else {"tuple": items}
        if kind is dict and all(type(k) is str for k in value):
            return {"dict": {k: self(v, f"{name}.{k}") for k, v in value.items()}}
        if kind is dict:
            return {"items": [[self(k, f"{name} key"), self(v, f"{name}.{k}")] for k, v in value.items()]}
        if isinstance(value, np.generic):
            return {"scalar": self._array(np.asarray(value), name)}
        if kind in (np.ndarray, np.memmap):
            return self._array(value, name)
        if kind is np.random.RandomState:
            return self._random_state(value, name)
        if kind.__name__ in _SPARSE and kind.__module__.startswith("scipy."):
            parts = value.data, value.indices, value.indptr, value.shape
            return {kind.__name__: self(list(parts), name)}
        raise TypeError(f"{name} can not be saved: a file can not hold {reprlib.repr(value)} ({kind.__name__})")

    def _array(self, array: NDArray[Any], name: str) -> Any:
        if array.dtype.kind in "biuf" and array.itemsize <= 8:
            return {"array": self._tensor(array, name)}
        if array.dtype.kind == "U" and array.size:  # as code points of four bytes each, so that the dtype is kept
            text = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
            return {"text": self._tensor(text.reshape(-1).view(np.uint32).reshape(*array.shape, -1), name)}
        if array.dtype == object and array.ndim == 1 and all(type(v) is str for v in array):
            return {"strings": array.tolist()}
        raise TypeError(f"{name} can not be saved: a file can not hold an array of dtype {array.dtype}")

    def _random_state(self, random: np.random.RandomState, name: str) -> Any:
        state: Any = random.get_state(legacy=False)
        if state["bit_generator"] != "MT19937":
            raise TypeError(f"{name} can not be saved: a file can not hold a RandomState on {state['bit_generator']}")
        words, position = state["state"]["key"], int(state["state"]["pos"])
        return {"RandomState": self([words, position, int(state["has_gauss"]), float(state["gauss"])], name)}

    def _tensor(self, array: NDArray[Any], name: str) -> str:
        while name in self.tensors:
            name += "'"
        shape = array.shape  # ascontiguousarray turns an array of no dimensions into one of one dimension
        self.tensors[name] = np.ascontiguousarray(array, array.dtype.newbyteorder("=")).reshape(shape)
        return name


class Decoder:
    """Decodes values from JSON and tensors. Each tensor can be used once; tensors not used stay in ``tensors``."""

    def __init__(self, tensors: dict[str, NDArray[Any]]) -> None:
        self.tensors = tensors

    def __call__(self, value: Any) -> Any:
        """The value that an Encoder wrote as this JSON; ValueError, TypeError or OverflowError if the JSON is invalid."""
        if isinstance(value, list):
            return [self(v) for v in value]
        if not isinstance(value, dict):
            return value
        if len(value) != 1:
            raise ValueError(f"a value must have one entry, got {reprlib.repr(value)}")
        [(kind, content)] = value.items()
        if kind not in self._MAKERS:
            raise ValueError(f"there are no values of the kind {reprlib.repr(kind)}")
        return self._MAKERS[kind](self, content)

    def _tensor(self, name: Any) -> NDArray[Any]:
        if not isinstance(name, str) or name not in self.tensors:
            raise ValueError(f"the tensor {reprlib.repr(name)} is missing")
        return self.tensors.pop(name).copy()

    def _array(self, name: Any) -> NDArray[Any]:
        tensor = self._tensor(name)
        if tensor.dtype.kind not in "biuf":
            raise ValueError(f"{name} must be real numbers, got {tensor.dtype}")
        return tensor

    def _list(self, content: Any, length: int | None = None) -> list[Any]:
        if not isinstance(content, list) or (length is not None and len(content) != length):
            raise ValueError(f"a list of {length or 'values'} must be one, got {reprlib.repr(content)}")
        return [self(v) for v in content]

    def _float(self, content: Any) -> float:
        if not isinstance(content, str) or content not in _SPECIAL:
            raise ValueError(f"{reprlib.repr(content)} is no number")
        return _SPECIAL[content]

    def _floats(self, name: Any) -> list[float]:
        tensor = self._tensor(name)
        if tensor.dtype != np.float64 or tensor.ndim != 1:
            raise ValueError(f"{name} must be a vector of float64, got {tensor.dtype}, shape {tensor.shape}")
        return tensor.tolist()

    def _tuple(self, content: Any) -> tuple[Any, ...]:
        return tuple(self._list(content))

    def _dict(self, content: Any) -> dict[str, Any]:
        if not isinstance(content, dict):
            raise ValueError(f"a dict must be an object, got {reprlib.repr(content)}")
        return {k: self(v) for k, v in content.items()}

    def _items(self, content: Any) -> dict[Any, Any]:
        if not isinstance(content, list):
            raise ValueError(f"pairs must be in a list, got {reprlib.repr(content)}")
        return dict(self._list(pair, 2) for pair in content)

    def _scalar(self, content: Any) -> Any:
        array = self(content)
        if not isinstance(array, np.ndarray) or array.ndim:
            raise ValueError("a scalar must have no dimensions")
        return array[()]

    def _text(self, name: Any) -> NDArray[Any]:
        codes = self._tensor(name)
        if codes.dtype != np.uint32 or codes.ndim == 0 or 0 in codes.shape or codes.max() > _LAST_CHARACTER:
            raise ValueError(f"{name} must be characters, got {codes.dtype}, shape {codes.shape}")
        return codes.view(f"U{codes.shape[-1]}").reshape(codes.shape[:-1])

    def _strings(self, content: Any) -> NDArray[Any]:
        if not isinstance(content, list) or not all(isinstance(v, str) for v in content):
            raise ValueError(f"a list of strings must be one, got {reprlib.repr(content)}")
        return np.array(content, object)

    def _random_state(self, content: Any) -> np.random.RandomState:
        words, position, has_gauss, gauss = self._list(content, 4)
        check_words(words, position)
        random = np.random.RandomState(0)
        random.set_state(("MT19937", words, position, int(has_gauss), float(gauss)))
        return random

    def _sparse(self, content: Any, name: str) -> Any:
        from scipy import sparse

        data, indices, indptr, shape = self._list(content, 4)
        if not all(isinstance(a, np.ndarray) and a.ndim == 1 for a in (data, indices, indptr)):
            raise ValueError(f"a {name} must have three vectors")
        if indices.dtype.kind not in "iu" or indptr.dtype.kind not in "iu":
            raise ValueError(f"a {name} must have whole numbers as indices, got {indices.dtype} and {indptr.dtype}")
        if not isinstance(shape, tuple) or [type(n) for n in shape] != [int, int]:
            raise ValueError(f"a {name} must have a shape of two whole numbers, got {reprlib.repr(shape)}")
        matrix = getattr(sparse, name)((data, indices, indptr), shape=shape)
        check_sparse(matrix, name)
        return matrix

    _MAKERS: ClassVar[dict[str, Callable[[Decoder, Any], Any]]] = {
        "float": _float,
        "floats": _floats,
        "tuple": _tuple,
        "dict": _dict,
        "items": _items,
        "scalar": _scalar,
        "array": _array,
        "text": _text,
        "strings": _strings,
        "RandomState": _random_state,
        "csr_matrix": lambda self, content: self._sparse(content, "csr_matrix"),
        "csr_array": lambda self, content: self._sparse(content, "csr_array"),
    }
