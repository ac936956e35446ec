"""The shapes of networks that the sweep draws: speed-ups of fastclf over the peers."""

from workloads import VERSION, group, measure, quick

from . import publish, speedups_over_peers

version = VERSION
WORKLOADS = group("sweep")
if quick():  # the wide networks take long to build, even for small batches
    WORKLOADS = dict([*WORKLOADS.items()][::6])


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), speedups_over_peers(WORKLOADS))
