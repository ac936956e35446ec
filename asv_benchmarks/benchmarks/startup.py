"""The time that a process needs before it trains: for imports, and for compiling with an empty cache."""

from workloads import VERSION, group, measure

from . import publish, value_of

version = VERSION
WORKLOADS = group("startup")


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), {f"track_{workload.slug}": value_of(workload) for workload in WORKLOADS.values()})
