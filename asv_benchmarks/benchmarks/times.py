"""The time of a workload's passes, for fastclf and for the reference; kernels are compiled in ``setup``."""

from workloads import VERSION, group, silence

WORKLOADS = group("trainers")


class Fastclf:
    arm = "fastclf"
    version = VERSION
    params = tuple(WORKLOADS)
    param_names = ("workload",)
    number, repeat, warmup_time = 1, (3, 7, 10.0), 0

    def setup(self, workload):
        with silence():
            self.passes = WORKLOADS[workload].ready(self.arm)

    def time_passes(self, workload):
        with silence():
            self.passes()


class Reference(Fastclf):
    arm = "reference"
    params = tuple(id for id, workload in WORKLOADS.items() if workload.has("reference"))
