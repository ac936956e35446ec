"""The size of a step from which all threads are faster than one: the measurement behind ``fastclf.engine.threads``."""

from workloads import VERSION, group, measure

from . import publish, speedup_over

version = VERSION
WORKLOADS = group("threads")


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), {"track_speedup_of_all_threads": speedup_over("one", WORKLOADS)})
