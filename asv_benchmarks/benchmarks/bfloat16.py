"""Networks in bfloat16: speed-ups over float32 and over torch's autocast."""

from workloads import VERSION, group, measure

from . import publish, speedups_over_peers

version = VERSION
WORKLOADS = group("bfloat16")


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), speedups_over_peers(WORKLOADS))
