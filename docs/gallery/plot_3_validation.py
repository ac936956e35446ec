"""
Learning curves with validation data
====================================

Validation data of your own show when a model begins to learn its samples by heart. The weights of the best epoch are kept.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fastclf import FastMLPClassifier
from fastclf.plots import LossCurveDisplay

X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X / 16, y, train_size=300, random_state=0)

model = FastMLPClassifier((200,), max_iter=1000, n_iter_no_change=40, batch_size=32, random_state=0)
model.fit(X_train, y_train, X_val=X_val, y_val=y_val)
best = min(range(model.n_iter_), key=model.validation_loss_curve_.__getitem__)
print(f"epoch {best + 1} of {model.n_iter_} was the best: accuracy {model.score(X_val, y_val):.3f}")

display = LossCurveDisplay.from_estimator(model)
display.ax_.axvline(best, color="0.6", linestyle=":")
