"""Speed-ups of fastclf over the reference and the peers; one measurement of all arms, in turn, gives all ratios."""

from workloads import PEERS, VERSION, group, measure

from . import publish, speedup_over

version = VERSION
WORKLOADS = group("trainers")


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), {f"track_speedup_vs_{arm}": speedup_over(arm, WORKLOADS) for arm in ("reference", *PEERS)})
