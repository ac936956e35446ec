"""The tests of scikit-learn's own that our estimators can not pass, with the reasons. They fail, or the list is stale.

A test without parameters stands for all of its parameters. ``docs/differences.md`` has the list as a table, which
``python -m tests.estimators.scikit_learns.differences`` writes.
"""

from pathlib import Path
from typing import NamedTuple

VERSION = "1.9"  # of scikit-learn, whose tests these are


class Difference(NamedTuple):
    """Tests that fail for one reason."""

    why: str
    tests: tuple[str, ...]  # names, or ids with parameters

    def holds_for(self, item):
        return item.name in self.tests or item.originalname in self.tests


LOSSES = "The only loss is the log-loss."
HINGE = (
    "The test expects numbers of the hinge loss, SGDClassifier's default: with the log-loss that class fails it, too."
)
SOFTMAX = "The test expects models of one class against the rest to tell a rare class badly; a softmax tells it well."
PRIVATE = "The test reads, sets or patches private names of scikit-learn's class."

LISTED = {
    "test_sgd": (
        Difference(
            LOSSES,
            (
                "test_late_onset_averaging_reached",
                "test_sgd_clf",
                "test_average_binary_computed_correctly",
                "test_sgd_multiclass_average",
                "test_sgd_proba",
                "test_regression_losses",
                "test_underflow_or_overflow",
                "test_numerical_stability_large_gradient",
            ),
        ),
        Difference(
            HINGE,
            (
                "test_class_weights",
                "test_equal_class_weight",
                "test_sample_weights",
                "test_l1_ratio",
                "test_large_regularization[l2]",
                "test_tol_parameter",
            ),
        ),
        Difference(SOFTMAX, ("test_balanced_weight",)),
        Difference(PRIVATE, ("test_plain_has_no_average_attr", "test_validation_mask_correctly_subsets")),
    ),
    "test_mlp": (Difference(PRIVATE, ("test_fit", "test_gradient")),),
}

PAGE = Path(__file__).parents[3] / "docs" / "differences.md"
_BEGIN, _END = "<!-- tests:begin -->\n", "<!-- tests:end -->\n"


def parts_of_page():
    """The page before, in and after the table."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    table, _, after = rest.partition(_END)
    return before + _BEGIN, table, _END + after


def table():
    """The list as a table in Markdown."""
    lines = ["| why | tests |", "|---|---|"]
    for module, differences in LISTED.items():
        for difference in differences:
            tests = ", ".join(f"`{test}`" for test in difference.tests)
            lines.append(f"| {difference.why} | {module}.py: {tests} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    before, _, after = parts_of_page()
    PAGE.write_text(before + table() + after)
