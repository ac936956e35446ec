"""Peak memory of a whole process that trains; ``machine`` measures the memory beyond the data."""

import numpy as np
from workloads import VERSION, quick

import fastclf


class Training:
    version = VERSION
    params = ("float32", "float64")
    param_names = ("dtype",)

    def setup(self, dtype):
        rng, m = np.random.default_rng(0), 2_000 if quick() else 200_000
        self.X, self.Y = rng.random((m, 64), dtype), np.zeros((m, 10), dtype)
        self.Y[:, 0] = 1

    def peakmem_data_alone(self, dtype):
        return self.X.nbytes

    def peakmem_train_model_batch(self, dtype):
        self._train(dtype, batch=True)

    def peakmem_train_model_sgd(self, dtype):
        self._train(dtype, batch=False)

    def _train(self, dtype, batch):
        fastclf.train_model(self.X, self.Y, iterations=2, batch=batch, multiclass=True, dtype=dtype, verbose=False)
