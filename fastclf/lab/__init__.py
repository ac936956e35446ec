"""The lab's functions and classes, on compiled kernels; ``fastclf.reference`` has the same names in plain NumPy."""

from .image import ImageLinearClassifier, train
from .linear import (
    add_bias_term,
    binary_cross_entropy_loss,
    categorical_cross_entropy_loss,
    gradient_descent_step,
    initialize_parameters,
    linear_prediction,
    sigmoid,
    softmax,
    stochastic_gradient_descent_step,
    train_model,
)
from .loaders import Batches, subsample_dataset
from .mlp import DeepMLPClassifier, MLPClassifier

__all__ = [
    "Batches",
    "DeepMLPClassifier",
    "ImageLinearClassifier",
    "MLPClassifier",
    "add_bias_term",
    "binary_cross_entropy_loss",
    "categorical_cross_entropy_loss",
    "gradient_descent_step",
    "initialize_parameters",
    "linear_prediction",
    "sigmoid",
    "softmax",
    "stochastic_gradient_descent_step",
    "subsample_dataset",
    "train",
    "train_model",
]
