"""Steps of two ranks, of one thread each, on the loopback interface: beside their parts, torch's, and two threads."""

import math

from scaling import COMPARED, RATIOS, compared
from workloads import VERSION

from . import publish

version = VERSION


def setup_cache():
    import torch.distributed  # noqa: F401  # without it, the ranks can not even say so

    return compared()


def ratio(name):
    def setup(measured, network):
        if math.isnan(measured[network][name]):  # the interface can not be slowed here
            raise NotImplementedError

    def track(measured, network):
        return measured[network][name]

    track.setup = setup
    track.unit, track.params, track.param_names = (
        "x",
        [["–".join(map(str, widths)) for widths in COMPARED]],
        ["network"],
    )
    return track


publish(globals(), {f"track_{name}": ratio(name) for name in RATIOS})
