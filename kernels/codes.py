"""The numbers that Python and the kernels share: positions, bits and sizes, each written down here alone. Free of Numba."""

# How a set of samples is stored: as floats of the element type, or as bytes, float32 or float64 of any alignment.
FLOATS, BYTES, SINGLE, DOUBLE = range(4)

# The columns of a network's layout, which has a row per layer: inputs, units, where the weights and the bias start among
# the parameters, and the units of all layers before this one.
N_IN, N_OUT, WEIGHTS, BIAS, UNITS = range(5)
N_COLUMNS = 5

# What a step on a batch does, as bits. ADD and HOLD are for a batch that comes in pieces: the piece's gradient is added to
# that of the pieces before it, and more pieces are to come, so that no update follows.
FORWARD, LOSS, BACKWARD, ADD, HOLD = 1, 2, 4, 8, 16
TRAIN = FORWARD | LOSS | BACKWARD

# How parameters follow their gradient.
IN_PLACE, MOMENTUM, NESTEROV, ADAM = range(4)

# The entries of the scales of a lazily updated sparse model: see ``sparse``.
FACTOR, AVERAGE_A, AVERAGE_B, L1_SUM, ITERATES = range(5)

SQUARE_PARTS = 64  # in which a sum of squares is cut: a number of its own, so that threads do not change a bit
LOSS_BLOCK = 64  # losses of per-sample SGD whose logarithms are taken together


def output_block_size(n_classes, capacity):
    """Elements in the scratch of the last layer, for up to ``capacity`` samples: see ``softmax``."""
    return (4 * n_classes + 3) * capacity + 4 * n_classes
