"""Mistakes that checkers find. The comment of a line names the codes of mypy's errors there; there are no others."""

from pathlib import Path

import numpy as np

import fastclf
from fastclf import FastLinearClassifier, FastMLPClassifier

X, y = np.zeros((30, 4)), np.zeros(30, np.int64)


def on_epoch(epoch: int) -> None:
    print(epoch)


linear = FastLinearClassifier(max_iters=3)  # mypy finds: call-arg
linear = FastLinearClassifier(max_iter="many")  # mypy finds: arg-type
linear.fit(X, y, sample_weights=np.ones(30))  # mypy finds: call-arg
linear.fit(X)  # mypy finds: call-arg
linear.fit(object(), y)  # mypy finds: arg-type
linear.partial_fit(X, y, clases=[0, 1])  # mypy finds: call-arg
linear.predict(X).fit(X, y)  # mypy finds: attr-defined

mlp = FastMLPClassifier(hidden_layer_sizes="100")  # mypy finds: arg-type
mlp = FastMLPClassifier().fit(X, y, X_valid=X, y_val=y)  # mypy finds: call-arg
mlp = FastMLPClassifier().fit(X, y, resume="yes")  # mypy finds: arg-type
mlp.partial_fit(X, y, None, [0, 1], 3)  # mypy finds: call-arg

fastclf.MLPClasifier(4, 5, 3)  # mypy finds: attr-defined
lab = fastclf.MLPClassifier(4, 5)  # mypy finds: call-arg
lab = fastclf.MLPClassifier(4, 5, "3")  # mypy finds: arg-type
lab.train(X.T, y, epoch=3)  # mypy finds: call-arg
lab.train(X.T, y, epochs="3")  # mypy finds: arg-type
lab.train(X.T, y, callback=on_epoch)  # mypy finds: arg-type
lab.W1.no_array_has_this()  # mypy finds: attr-defined
print(lab.W3)  # mypy finds: attr-defined
lab.W1 = object()  # mypy finds: assignment
fastclf.DeepMLPClassifier(4, 5, 3).train(3)  # mypy finds: arg-type
fastclf.Batches(X, y, batchsize=3)  # mypy finds: call-arg

fastclf.train_model(X, y, iteration=3)  # mypy finds: call-arg
theta, losses = fastclf.train_model(X, y, n_jobs="all")  # mypy finds: arg-type
losses.mean()  # mypy finds: attr-defined
fastclf.load(Path("model"), fastclf.MLPClassifier).predict_proba(X)  # mypy finds: attr-defined
other: fastclf.MLPClassifier = fastclf.load("model", fastclf.DeepMLPClassifier)  # mypy finds: assignment
fastclf.load(3)  # mypy finds: call-overload
fastclf.save(lab)  # mypy finds: call-arg
