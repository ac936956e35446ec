"""Training beside busy processes: fastclf and the peers in turn, under the same load."""

from workloads import PEERS, VERSION, group, measure

from . import publish, speedup_over

version = VERSION
WORKLOADS = group("load")


def setup_cache():
    return measure(WORKLOADS)


publish(
    globals(),
    {
        f"track_speedup_vs_{arm}": speedup_over(arm, WORKLOADS)
        for arm in PEERS
        if any(w.has(arm) for w in WORKLOADS.values())
    },
)
