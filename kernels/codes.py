"""Constants that Python and the kernels share: positions, bits and sizes. Each is defined only here. Free of Numba."""

# How samples are stored: as floats of the element type; raw, as bytes, float32 or float64 of any alignment; or as rows of
# (feature, value) pairs.
FLOATS, BYTES, SINGLE, DOUBLE, SPARSE = range(5)

# The columns of a network's layout, which has one row per layer: number of inputs, number of units, offset of the weights
# in the parameter vector, offset of the bias, and number of units in all layers before this one.
N_IN, N_OUT, WEIGHTS, BIAS, UNITS = range(5)
N_COLUMNS = 5

# What a step on a batch does, as bits. ADD and HOLD are for a batch that comes in pieces. ADD adds this piece's gradient
# to that of the earlier pieces. HOLD says that more pieces follow, so the parameters are not updated yet. MARK writes NaN
# into the outputs, and -1 into the winner, of a sample that may hold NaN or infinity. ABOVE computes the gradient of all
# layers but the first, and LOWEST, in the next call, that of the first, from the deltas that the call before has left.
FORWARD, LOSS, BACKWARD, ADD, HOLD, MARK, ABOVE, LOWEST = 1, 2, 4, 8, 16, 32, 64, 128
TRAIN = FORWARD | LOSS | BACKWARD

# The optimiser: how the parameters are updated from their gradient.
IN_PLACE, MOMENTUM, NESTEROV, ADAM = range(4)

# Positions in ``scales``, the scalars of a lazily updated linear model: see ``sparse``.
FACTOR, AVERAGE_A, AVERAGE_B, L1_SUM, ITERATES = range(5)

# The activation of hidden layers.
RELU, IDENTITY, LOGISTIC, TANH = range(4)
ACTIVATIONS = {"relu": RELU, "identity": IDENTITY, "logistic": LOGISTIC, "tanh": TANH}

SQUARE_PARTS = 64  # parts of the sum of squares: fixed, so that the bits do not depend on the number of threads
MANY_CLASSES = (
    32  # up to this number, the last layer has a row per class, and beyond it a row per sample: see ``softmax``
)
SHORT_VECTORS = 12  # layers with fewer vectors of inputs work with transposed weights: see ``matmul.is_short``
LOSS_BLOCK = 64  # losses of per-sample SGD whose logarithms are computed together


def output_block_size(n_classes, capacity):
    """Elements in the last layer's block of scratch, for up to ``capacity`` samples: see ``softmax``."""
    return (4 * n_classes + 3) * capacity + 4 * n_classes
