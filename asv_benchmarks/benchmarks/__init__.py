"""The benchmarks that asv runs: the workloads of the table in ``workloads``, under the names that asv looks for.

Every file defines its own ``setup_cache``, because asv identifies a ``setup_cache`` by its place in the source: files that
import the same one would share its result.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


def speedup_over(arm, workloads):
    """A benchmark with a parameter, the workload's id, that gives the speed-up of fastclf over one arm.

    The benchmark is skipped where the arm's library is not installed. ``measured`` is what ``setup_cache`` returns.
    """

    def setup(measured, workload):
        if arm not in measured[workload].samples:
            raise NotImplementedError

    def track(measured, workload):
        return measured[workload].speedup(arm)

    track.setup, track.unit = setup, "x"
    track.params, track.param_names = [id for id, w in workloads.items() if w.has(arm)], ["workload"]
    return track


def speedups_over_peers(workloads):
    """The benchmarks ``speedup_over`` of every arm that one of the workloads has, beside fastclf's."""
    from workloads import BFLOAT16, PEERS

    return {
        f"track_speedup_vs_{arm}": speedup_over(arm, workloads)
        for arm in ("reference", *PEERS, *BFLOAT16)
        if any(workload.has(arm) for workload in workloads.values())
    }


def value_of(workload):
    """A benchmark that gives the figure that the workload's only target bounds."""
    [target] = workload.targets

    def track(measured):
        return measured[workload.id].value(target)

    track.unit = "x" if target.against else {"process": "s"}.get(workload.unit, workload.unit)
    return track


def publish(namespace, benchmarks):
    """Add benchmarks to a module's namespace, where asv finds them by their names."""
    for name, benchmark in benchmarks.items():
        benchmark.__name__ = benchmark.__qualname__ = name
        benchmark.__module__ = namespace["__name__"]
        namespace[name] = benchmark
