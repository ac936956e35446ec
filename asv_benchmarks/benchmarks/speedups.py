"""Speed-ups of fastclf over the reference and the peers; one measurement of all arms, in turn, gives all ratios."""

from workloads import VERSION, group, measure

from . import publish, speedups_over_peers

version = VERSION
WORKLOADS = group("trainers")


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), speedups_over_peers(WORKLOADS))
