"""
Digits in five lines
====================

An MLP on scikit-learn's handwritten digits, and the digits that it takes for others.
"""

from sklearn.datasets import load_digits
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split

from fastclf import FastMLPClassifier

X_train, X_test, y_train, y_test = train_test_split(*load_digits(return_X_y=True), random_state=0)
model = FastMLPClassifier(learning_rate_init=0.01, scale=1 / 16, random_state=0).fit(X_train.astype("uint8"), y_train)
print(f"accuracy on {len(X_test)} digits that it has not seen: {model.score(X_test.astype('uint8'), y_test):.3f}")

display = ConfusionMatrixDisplay.from_predictions(y_test, model.predict(X_test.astype("uint8")), colorbar=False)
display.ax_.set_title("What the model says, and what it is")
