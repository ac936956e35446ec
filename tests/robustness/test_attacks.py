"""Every attack of ``attacks.py`` meets the error that it should, or ends well; none ends the interpreter."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from . import attacks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def outcomes():
    """What came of each attack: the type and message of its error, or how the interpreter ended."""
    found, left = {}, [*attacks.ATTACKS]
    while left:
        done = subprocess.run(
            [sys.executable, "-m", "tests.robustness.attacks", *left],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=280,
        )
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        found |= {line["name"]: tuple(line["outcome"]) for line in lines if "name" in line}
        begun = [line["begins"] for line in lines if "begins" in line]
        assert begun, done.stderr
        if begun[-1] not in found:
            found[begun[-1]] = "the end of the interpreter", f"{done.returncode}: {done.stderr[-500:]}"
        left = [name for name in left if name not in found]
    return found


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_attack(outcomes, name, record_property):
    attack, (error, message) = attacks.ATTACKS[name], outcomes[name]
    if error in ("ImportError", "ModuleNotFoundError") and "torch" in message:
        pytest.importorskip("torch", exc_type=ImportError)
    assert error == attack.error, message
    assert attack.message in message
    record_property("hostile calls met", 1)


def test_there_are_many():
    assert len(attacks.ATTACKS) > 200
