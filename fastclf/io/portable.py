"""What every model of ours has in common: it goes to files and to other libraries, and comes back.

The public methods are thin: ``persist`` and ``interchange`` do the work, on what the four methods below take a model apart
into. A class implements these four, and nothing else has to know it.
"""

from __future__ import annotations

import os
from typing import Any

from numpy.typing import NDArray

from .layers import Layer


class Portable:
    """A model that can be saved and exported."""

    def _state(self) -> dict[str, Any]:
        """Everything that outputs and further training depend on, as values that ``codec`` can write.

        Attributes that the class does not give the model are a TypeError: they would be lost. A state in which no training
        leaves a model is a ValueError.
        """
        raise NotImplementedError

    @classmethod
    def _from_state(cls, state: Any) -> Any:
        """The model of which this is the state; ValueError or TypeError if it is that of none, whoever has written it."""
        raise NotImplementedError

    def _layers(self) -> tuple[list[Layer], str | None]:
        """The layers that give the model's outputs, and what is on top of them: "softmax", "sigmoid" or None."""
        raise NotImplementedError

    @classmethod
    def _from_layers(cls, layers: list[Layer], top: str | None, **options: Any) -> Any:
        """A model with these layers below a softmax, a sigmoid or nothing; the options are the class's own.

        Layers that the class can not have, and options that it does not take, are a ValueError or a TypeError.
        """
        raise NotImplementedError

    def _first_layer(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """The weights of the first layer, a row per unit or class, and its bias: views, where they can be."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to a file, from which ``fastclf.load`` makes an equal one: see ``fastclf.save``.

        Parameters
        ----------
        path : str or os.PathLike
            Exactly the file's name: nothing is appended.

        Raises
        ------
        TypeError, ValueError, OSError
            As for ``fastclf.save``.
        """
        from .persist import save

        save(self, path)

    def to_torch(self, *, logits: bool = False) -> Any:
        """The model as a torch module with the same outputs, to rounding, on samples as rows.

        The outputs are those of ``predict_proba``, of ``forward`` transposed, or for ``ImageLinearClassifier`` the scores of
        ``predict``, transposed. For two classes the module has two outputs. Bytes are not scaled by the module: give it
        ``X * scale_`` where the model was trained on bytes.

        Parameters
        ----------
        logits : bool, default=False
            Leave the final softmax or sigmoid out: for training with ``CrossEntropyLoss``.

        Returns
        -------
        torch.nn.Sequential
            Of Linear, ReLU and Softmax or Sigmoid, with copies of the parameters, of their dtype, on the CPU.

        Raises
        ------
        ImportError
            If torch is not installed.
        TypeError
            If the model is of a class of your own, whose outputs may be others.
        NotFittedError
            If an estimator is not fitted.
        """
        from .interchange import to_torch

        return to_torch(self, logits=logits)

    def to_onnx(self, path: str | os.PathLike[str], *, logits: bool = False) -> None:
        """Write the module of ``to_torch`` as an ONNX file, for any number of samples.

        The input is "X" (m, n), of the model's dtype, the output "probabilities" or "scores" (m, c). An estimator's classes
        are in the file's metadata, as JSON under "classes".

        Parameters
        ----------
        path : str or os.PathLike
            Exactly the file's name. An old file stays whole until the new one is.
        logits : bool, default=False
            Leave the final softmax or sigmoid out.

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
