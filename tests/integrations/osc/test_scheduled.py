"""Messages that wait for their time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations.osc.scheduled import SCHEDULED_BYTES_MAX, SCHEDULED_MAX, Scheduled

fader = st.sampled_from([b"/a\0\0,f", b"/b\0\0,f", b"/ab\0,f"])
seconds = st.integers(0, 20).map(float)


@given(st.lists(st.tuples(st.booleans(), fader, seconds), max_size=40))
def test_each_comes_in_its_time_unless_its_fader_was_moved_since(steps: list[tuple[bool, bytes, float]]) -> None:
    """steps happen a second after another: a message is scheduled for later, or its fader is moved now."""
    scheduled: Scheduled[int] = Scheduled()
    due_at: dict[int, float] = {}
    wanted: dict[int, float] = {}  # those that no hand overrules
    came: list[tuple[int, float]] = []
    for now, (moves, message, later) in enumerate(steps):
        came += [(number, now) for _, number in scheduled.due(now)]
        if moves:
            scheduled.moved(message, now)
            wanted = {n: due for n, due in wanted.items() if steps[n][1] != message or due <= now}
        else:
            assert scheduled.add(message, now, now, now + later)
            due_at[now] = wanted[now] = now + later
    came += [(number, 1000) for _, number in scheduled.due(1000)]
    assert sorted(n for n, _ in came) == sorted(wanted)
    assert all(due_at[number] <= at for number, at in came)
    assert [due_at[n] for n, at in came if at == 1000] == sorted(due_at[n] for n, at in came if at == 1000)
    assert scheduled.superseded == len(due_at) - len(wanted)
    assert (len(scheduled), scheduled.next_due) == (0, None)


def test_there_is_no_more_room_than_that() -> None:
    small: Scheduled[None] = Scheduled()
    assert sum(small.add(b"/a\0\0", None, 0.0, 1.0) for _ in range(SCHEDULED_MAX + 50)) == SCHEDULED_MAX
    large: Scheduled[None] = Scheduled()
    added = sum(large.add(bytes(60_000), None, 0.0, 1.0) for _ in range(200))
    assert added * 60_000 <= SCHEDULED_BYTES_MAX + 60_000
    assert len(list(large.due(2.0))) == added
    assert large.add(bytes(60_000), None, 2.0, 3.0), "what was delivered makes room"
