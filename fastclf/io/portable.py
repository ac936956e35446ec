"""The methods that bring models to files and to other libraries, and back, which all of fastclf's classes have.

They are thin: ``persist`` and ``interchange`` do the work, on what a class's module of parts takes the model apart into.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from ..engine.network import Network


class Portable:
    """A model that can be saved and exported."""

    _parts: ClassVar[str]  # the module that takes models of the class apart

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
            If torch, onnx or onnxscript is not installed.
        TypeError, NotFittedError
            As for ``to_torch``.
        OSError
            If the file can not be written.
        """
        from .interchange import to_onnx

        to_onnx(self, path, logits=logits)


class PortableNetwork(Portable):
    """A class of the lab."""

    _parts = ".io.layers"
    _sizes: ClassVar[str]  # the width of each layer, from the inputs on, as a letter for one of the constructor's sizes
    _network: Network
    scale: float
    _top: ClassVar[str | None] = "softmax"  # on top of the last layer's scores, where outputs are more than these

    @classmethod
    def from_torch(cls, module: Any, **arguments: Any) -> Any:
        """A model with the parameters of a torch module.

        Parameters
        ----------
        module : torch.nn.Sequential
            Linear layers with ReLU between them, as many as the class has, of one dtype, float32 or float64. A Flatten
            before, Dropout anywhere, and Softmax or LogSoftmax at the end may be there, and change nothing.
        **arguments
            Keywords of the constructor; sizes and dtype are the module's.

        Returns
        -------
        model
            With copies of the parameters; a bias that is not there is 0.

        Raises
        ------
        TypeError, ValueError
            If the module does not fit the class; the message says where.
        """
        from .interchange import from_torch

        return from_torch(cls, module, arguments)


class PortableEstimator(Portable):
    """An estimator."""

    _parts = ".estimators.state"

    @classmethod
    def from_torch(cls, module: Any, *, classes: ArrayLike | None = None, **parameters: Any) -> Any:
        """A fitted estimator with the parameters of a torch module.

        Parameters
        ----------
        module : torch.nn.Sequential
            Linear layers with ReLU between them, one for ``FastLinearClassifier``, of one dtype, float32 or float64. A
            Flatten before, Dropout anywhere, and Softmax, LogSoftmax or Sigmoid at the end may be there. One output is the
            logit of the second of two classes. A Sigmoid on several outputs makes a ``FastMLPClassifier`` for several
            labels.
        classes : array-like of shape (n_classes,), optional
            The class of each output, in any order; 0 … n_classes - 1 by default.
        **parameters
            Those of the constructor; ``hidden_layer_sizes`` is the module's.

        Returns
        -------
        estimator
            With copies of the parameters; a bias that is not there is 0. ``partial_fit`` goes on from there.

        Raises
        ------
        TypeError, ValueError
            If the module does not fit the class; the message says where.
        """
        from .interchange import from_torch

        return from_torch(cls, module, parameters, classes=classes)
