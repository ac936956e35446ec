"""How near fastclf comes to the machine's limits: multiply-adds, growth with the data, memory beyond it, the disk."""

from workloads import VERSION, group, measure

from . import publish, value_of

version = VERSION
WORKLOADS = group("machine")


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), {f"track_{workload.slug}": value_of(workload) for workload in WORKLOADS.values()})
