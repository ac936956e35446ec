"""
Decision boundaries
===================

Two moons, which no line divides: a linear model beside MLPs of more and more units.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons

from fastclf import FastLinearClassifier, FastMLPClassifier
from fastclf.plots import DecisionBoundary

X, y = make_moons(400, noise=0.2, random_state=0)
models = {"linear": FastLinearClassifier(random_state=0)}
for units in (4, 16, 64):
    models[f"{units} hidden units"] = FastMLPClassifier(
        (units,), max_iter=1000, learning_rate_init=0.03, random_state=0
    )

figure, axes = plt.subplots(1, 4, figsize=(14, 3.6), layout="constrained")
for ax, (name, model) in zip(axes, models.items()):
    DecisionBoundary.from_estimator(model.fit(X, y), X, y, ax=ax)
    ax.set_title(f"{name}: accuracy {model.score(X, y):.2f}")
