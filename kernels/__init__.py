"""The hot loops of fastclf, compiled by Numba. Installed, and only ever imported, as ``fastclf.kernels``.

A kernel takes arrays that ``fastclf.inputs`` has proved to be right, writes into arrays it is given, allocates nothing
and knows nothing of Python objects. From the bottom up: ``target`` (the machine), ``simd`` (vectors), ``tile`` (register
tiles), ``matmul`` (products), ``softmax`` (the last layer), ``gather`` (samples as they are stored), ``batch`` (where
everything is), ``update`` (optimisers); and the trainers on top of them, ``mlp``, ``linear``, ``sgd``, ``sparse``.
"""
