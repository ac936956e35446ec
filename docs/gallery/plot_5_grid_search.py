"""
A grid search
=============

The classes are scikit-learn estimators, so its searches take them as they are.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV

from fastclf import FastMLPClassifier

X, y = load_digits(return_X_y=True)
grid = {"learning_rate_init": [3e-3, 1e-2, 3e-2, 1e-1], "dropout": [0, 0.2, 0.4]}
model = FastMLPClassifier((64,), max_iter=300, tol=1e-3, random_state=0)
search = GridSearchCV(model, grid, cv=3).fit(X.astype("float32") / 16, y)
print(
    f"{len(search.cv_results_['params'])} models on 3 folds each; the best: {search.best_params_}, {search.best_score_:.3f}"
)

scores = np.reshape(search.cv_results_["mean_test_score"], (3, 4))  # parameters vary in the order of their names
figure, ax = plt.subplots(layout="constrained")
picture = ax.imshow(scores, cmap="viridis")
ax.set(xlabel="learning_rate_init", ylabel="dropout", title="Mean accuracy on the folds left out")
ax.set_xticks(range(4), grid["learning_rate_init"])
ax.set_yticks(range(3), grid["dropout"])
for (i, j), score in np.ndenumerate(scores):
    ax.text(j, i, f"{score:.3f}", ha="center", va="center", color="white" if score < scores.mean() else "black")
