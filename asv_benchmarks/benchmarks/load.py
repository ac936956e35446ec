"""Training beside busy processes: fastclf and the peers in turn, under the same load."""

from workloads import VERSION, group, measure

from . import publish, speedups_over_peers

version = VERSION
WORKLOADS = group("load")


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), speedups_over_peers(WORKLOADS))
