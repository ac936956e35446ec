"""The base class of all models: saving, and conversion to and from other libraries.

The public methods are thin: ``persist`` and ``interchange`` do the work, on the state or the layers of a model. Each class
implements the private methods below, so that no other module needs to know the class.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from .layers import Layer

if TYPE_CHECKING:
    from typing_extensions import Self


class Portable:
    """A model that can be saved and exported."""

    _activation = "relu"  # between the layers

    def _state(self) -> dict[str, Any]:
        """Everything that outputs and further training depend on, as values that ``codec`` can write.

        Raises TypeError if the model has attributes that the class does not define, because a file would lose them, and
        ValueError if the model is in a state that no training produces.
        """
        raise NotImplementedError

    @classmethod
    def _from_state(cls, state: Any) -> Self:
        """The model with this state, which may come from an untrusted file; ValueError or TypeError if it is invalid."""
        raise NotImplementedError

    def _layers(self) -> tuple[list[Layer], str | None]:
        """The layers that give the model's outputs, and the function on top of them: "softmax", "sigmoid" or None."""
        raise NotImplementedError

    @classmethod
    def _from_layers(cls, layers: list[Layer], top: str | None, **options: Any) -> Self:
        """A model with these layers and the function ``top`` on top of them; ``options`` depend on the class.

        Raises ValueError or TypeError for layers that the class can not have, and for options that it does not take.
        """
        raise NotImplementedError

    def _first_layer(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The weights of the first layer, one row per unit or class, and its bias: views, if possible."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, from which ``fastclf.load`` loads an equal model: see ``fastclf.save``.

        Parameters
        ----------
        path : str or os.PathLike
            The exact name of the file: no suffix is appended.

        Raises
        ------
        TypeError, ValueError, OSError
            As for ``fastclf.save``.
        """
        from .persist import save

        save(self, path)

    def to_torch(self, *, logits: bool = False) -> Any:
        """The model as a torch module, which takes samples as rows and has the same outputs up to rounding.

        The outputs are those of ``predict_proba``, or ``forward`` transposed; for ``ImageLinearClassifier``, the scores of
        ``predict``, transposed. For two classes, the module has two outputs. The module does not scale bytes: pass
        ``X * scale_`` (the lab's classes: ``X * scale``) if the model was trained on bytes.

        Parameters
        ----------
        logits : bool, default=False
            Leave out the final softmax or sigmoid, to train with ``CrossEntropyLoss``.

        Returns
        -------
        torch.nn.Sequential
            Linear, activation and Softmax or Sigmoid modules on the CPU, with copies of the parameters in their dtype.

        Raises
        ------
        ImportError
            If torch is not installed.
        TypeError
            If the model's class is not one of fastclf's own, such as a subclass, whose outputs may be different.
        NotFittedError
            If an estimator is not fitted.
        """
        from .interchange import to_torch

        return to_torch(self, logits=logits)

    def to_onnx(self, path: str | os.PathLike[str], *, logits: bool = False) -> None:
        """Write the module of ``to_torch`` as an ONNX file, for any number of samples.

        The input is "X" (m, n), in the model's dtype. The output is "probabilities" or "scores" (m, c). The classes of an
        estimator are in the file's metadata, as JSON under "classes".

        Parameters
        ----------
        path : str or os.PathLike
            The exact name of the file. An old file stays unchanged until the new file is complete.
        logits : bool, default=False
            Leave out the final softmax or sigmoid.

        Raises
        ------
        ImportError
            If onnx is not installed.
        TypeError, NotFittedError
            As for ``to_torch``.
        OSError
            If the file can not be written.
        """
        from .interchange import to_onnx

        to_onnx(self, path, logits=logits)
