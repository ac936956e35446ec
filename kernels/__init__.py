"""The hot loops of fastclf, compiled by Numba. Installed, and only ever imported, as ``fastclf.kernels``.

A kernel takes arrays that ``fastclf.inputs`` has checked, writes its results into arrays that it is given, allocates nothing
and uses no Python objects. The modules, from the bottom up: ``target`` (the instruction set), ``simd`` (vectors), ``tile``
(register tiles), ``matmul`` (products), ``softmax`` (the last layer), ``gather`` (conversion of stored samples), ``batch``
(the layout of a step's data), ``update`` (optimisers), and the trainers: ``mlp``, ``linear``, ``sgd``, ``sparse``.
"""
