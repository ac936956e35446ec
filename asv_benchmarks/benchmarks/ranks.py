"""Steps of two ranks, of one thread each, on the loopback interface: beside their parts, torch's, and two threads."""

from scaling import COMPARED, RATIOS, compared
from workloads import VERSION

from . import publish

version = VERSION


def setup_cache():
    return compared()


def ratio(name):
    def track(measured, network):
        return measured[network][name]

    track.unit, track.params, track.param_names = (
        "x",
        [["–".join(map(str, widths)) for widths in COMPARED]],
        ["network"],
    )
    return track


publish(globals(), {f"track_{name}": ratio(name) for name in RATIOS})
