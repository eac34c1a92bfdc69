"""Memory of a running program and its children: what is there, and what of it has grown."""

import subprocess
import sys

import pytest
from worldjockey.node.measure.memory import Sample, growth, sample_of, watched

pytestmark = pytest.mark.slow

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
kept = []
for line in sys.stdin:
    if line.strip() == "child":
        child.stdin.write(b"more\\n"); child.stdin.flush(); child.stdout.readline()
    else:
        kept.append(bytearray(b"x") * (40 << 20))
    print("done", flush=True)
child.kill()
"""
CHILD = """
import sys
kept = []
for line in sys.stdin:
    kept.append(bytearray(b"x") * (40 << 20))
    print("done", flush=True)
"""


@pytest.fixture
def program():
    with subprocess.Popen(
        [sys.executable, "-c", f"CHILD = {CHILD!r}\n{PARENT}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.stdin.close()


def ask(program, what):
    program.stdin.write(f"{what}\n")
    program.stdin.flush()
    assert program.stdout.readline() == "done\n"


def test_growth_is_seen_where_it_is(program, wait_for):
    with watched(program.pid) as samples:
        ask(program, "child")
        wait_for(lambda: samples and samples[-1].count == 2)
        first = sample_of(program.pid)
        ask(program, "own")
        own = sample_of(program.pid)
        ask(program, "child")
        both = sample_of(program.pid)
        wait_for(lambda: samples[-1].all >= both.all - 5)
    assert 35 < own.own - first.own < 50
    assert 35 < own.all - first.all < 50
    assert abs(both.own - own.own) < 5
    assert 35 < both.all - own.all < 50


def test_who_is_gone_has_no_memory(program):
    program.kill()
    program.wait()
    assert sample_of(program.pid) is None


def samples(*rows):
    return [Sample(float(t), own, total, count) for t, (own, total, count) in enumerate(rows)]


def test_warm_up_and_the_end_do_not_count():
    found = growth(
        samples(*[(10, 20, 1)] * 5, *[(100 + t, 500 + 3 * t, 4) for t in range(50)], *[(150, 200, 2)] * 3), seconds=40
    )
    assert found["seconds"] == 40
    assert found["own_growth_mb"] == pytest.approx(33, abs=2)  # medians of the first and the last eight seconds
    assert found["all_growth_mb"] == pytest.approx(99, abs=6)
    assert found["all_mb"] == pytest.approx(500 + 3 * 45.5, abs=2)


def test_one_spike_is_no_growth():
    level = [(100.0, 500.0, 4)] * 40
    level[-1] = (100.0, 900.0, 4)
    assert growth(samples(*level), 60)["all_growth_mb"] == 0


def test_nothing_seen_is_nothing_grown():
    assert growth([], 10) == {"seconds": 0.0, "own_mb": 0.0, "own_growth_mb": 0.0, "all_mb": 0.0, "all_growth_mb": 0.0}
