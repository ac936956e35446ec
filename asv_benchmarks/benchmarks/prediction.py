"""Predictions of one, ten, a hundred and ten thousand samples, beside scikit-learn and a bare torch module."""

from workloads import VERSION, group, measure

from . import publish, speedups_over_peers

version = VERSION
WORKLOADS = group("prediction")


def setup_cache():
    return measure(WORKLOADS)


publish(globals(), speedups_over_peers(WORKLOADS))
