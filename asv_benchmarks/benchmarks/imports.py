"""Times of imports alone, each in a process of its own."""


class Imports:
    params = ("fastclf", "numba")
    param_names = ("module",)
    number, repeat = 1, (3, 10, 10.0)

    def timeraw_import(self, module):
        return f"import {module}"
