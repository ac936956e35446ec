"""fastclf beside the reference and its peers: all arms are measured once, in turn, and give many ratios."""

from workloads import PEERS, VERSION, group, measure

from . import publish, speedup_over

version = VERSION
WORKLOADS = group("trainers")


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), {f"track_speedup_vs_{arm}": speedup_over(arm, WORKLOADS) for arm in ("reference", *PEERS)})
