import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations.midi.learn import Gather
from worldjockey.integrations.midi.parse import (
    Decoder,
    Event,
    Messages,
    Pair,
    fourteen,
    fraction,
    seven,
    ticks,
    whole,
    widened,
)

CHANNEL_BYTES = st.tuples(st.integers(0x80, 0xEF), st.integers(0, 127), st.integers(0, 127)).map(
    lambda m: list(m[: 2 if m[0] >> 4 in (0xC, 0xD) else 3])
)


def decoded(*messages: list[int], fine: tuple[int, ...] = (), nrpn: bool = False) -> list[Event]:
    decoder = Decoder(fine, nrpn)
    return [event for message in messages for event in decoder.decode(message)]


@given(st.lists(CHANNEL_BYTES), st.randoms())
def test_messages_in_pieces_are_what_another_parser_reads(messages, random):
    stream = [byte for message in messages for byte in message]
    parser = mido.Parser()
    parser.feed(stream)
    pieces, start = [], 0
    while start < len(stream):
        end = start + random.randint(1, 4)
        pieces.append(stream[start:end])
        start = end
    port = Messages()
    assert [list(m) for piece in pieces for m in port.feed(piece)] == [m.bytes() for m in parser] == messages


@given(st.lists(CHANNEL_BYTES), st.lists(st.sampled_from([0xF8, 0xFA, 0xFE]), max_size=9), st.randoms())
def test_running_status_and_a_clock_between_any_two_bytes_lose_no_message(messages, clock, random):
    """As a drum machine sends them on a cable, and a program that passes its bytes on."""
    stream, status = [], 0
    for message in messages:
        stream += message[1:] if message[0] == status else message
        status = message[0]
    pieces = [[byte] for byte in stream]
    for tick in clock:
        pieces.insert(random.randint(0, len(pieces)), [tick])
    port = Messages()
    split = [list(message) for piece in pieces for message in port.feed(piece)]
    assert [message for message in split if message[0] < 0xF8] == messages
    assert sorted(message[0] for message in split if message[0] >= 0xF8) == sorted(clock)
    at_once = [list(message) for message in Messages().feed([byte for piece in pieces for byte in piece])]
    assert at_once == split


def test_system_exclusive_in_pieces_is_left_out_and_ends_with_any_message():
    port = Messages()
    assert port.feed([0xF0, 0, 0x20]) == port.feed([1, 2, 3]) == port.feed([4, 0xF7]) == port.feed([5, 6]) == []
    assert port.feed([0xF0, 1]) == []
    assert port.feed([0x90, 36, 127]) == [[0x90, 36, 127]]
    assert port.feed([37, 100, 0xF0, 1, 0xF8, 2]) == [[0x90, 37, 100], [0xF8]]


@given(st.lists(st.binary(max_size=8)))
def test_noise_is_never_more_than_whole_messages(packets):
    port, decoder = Messages(), Decoder(range(32), True)
    for packet in packets:
        for message in port.feed(list(packet)):
            assert whole(message)
            for event in decoder.decode(message):
                assert 0 <= event.channel <= 16
                assert 0 <= event.number <= 16382
                assert -1 <= event.value <= 16383


def test_a_message_after_noise_is_whole():
    port = Messages()
    assert port.feed([0x90, 36]) == []
    assert port.feed([0x80, 1, 2]) == [[0x80, 1, 2]]
    assert port.feed([100]) == []  # the note that was begun ended with the next status


def test_every_kind_is_read():
    assert decoded([0x91, 36, 7], [0x91, 36, 0], [0x80, 36, 9]) == [
        Event("note", 2, 36, 7), Event("off", 2, 36, 0), Event("off", 1, 36, 9),
    ]  # fmt: skip
    assert decoded([0xA0, 36, 5], [0xD3, 6], [0xC0, 9], [0xE0, 0, 64]) == [
        Event("poly", 1, 36, 5), Event("pressure", 4, 0, 6), Event("program", 1, 9, 9), Event("bend", 1, 0, 8192),
    ]  # fmt: skip
    clock = decoded([0xF8], [0xFA], [0xFB], [0xFC], [0xF2, 3, 1], [0xFE], [0xF1, 0], [0xFF])
    assert [(e.kind, e.value) for e in clock] == [
        ("tick", 0), ("start", 0), ("continue", 0), ("stop", 0), ("position", 131),
    ]  # fmt: skip


def test_fourteen_bits_are_read_only_where_they_are_wanted():
    pair = [0xB0, 7, 64], [0xB0, 39, 1]
    assert [e.kind for e in decoded(*pair)] == ["cc", "cc"]
    assert [e for e in decoded(*pair, fine=(7,)) if e.kind == "cc14"] == [
        Event("cc14", 1, 7, 64 << 7), Event("cc14", 1, 7, (64 << 7) + 1),
    ]  # fmt: skip
    assert decoded([0xB0, 39, 1], fine=(7,)) == [Event("cc", 1, 39, 1)]  # its coarse half is not known


@given(st.lists(st.integers(0, 16383), min_size=2, max_size=20))
def test_a_pair_never_overshoots_between_its_halves(values):
    pair, before = Pair(), None
    pair.coarse(values[0] >> 7)
    for value in values:
        middle, end = pair.coarse(value >> 7), pair.fine(value & 127)
        assert end == value
        if before is not None:
            assert min(before, value) <= middle <= max(before, value)
        before = value


@given(st.lists(st.integers(0, 16383), min_size=1, max_size=20))
def test_a_pair_whose_fine_half_comes_first_is_exact_and_reaches_its_ends(values):
    pair = Pair()
    for value in values:
        assert pair.fine(value & 127) is None, "half a value is none"
        assert pair.coarse(value >> 7) == value


def test_both_orders_are_read_for_controllers_and_nrpn():
    first = decoded([0xB0, 39, 127], [0xB0, 7, 127], [0xB0, 39, 0], [0xB0, 7, 64], fine=(7,))
    assert [e.value for e in first if e.kind == "cc14"] == [16383, 8192]
    select = [0xB0, 99, 1], [0xB0, 98, 2]
    nrpn = decoded(*select, [0xB0, 38, 127], [0xB0, 6, 127], [0xB0, 38, 0], [0xB0, 6, 0], nrpn=True)
    assert [e.value for e in nrpn if e.kind == "nrpn"] == [16383, 0]


def test_a_coarse_half_alone_reaches_both_ends_and_the_middle():
    assert [Pair().coarse(value) for value in (0, 64, 127)] == [0, 8192, 16383]
    assert sorted({widened(value) for value in range(128)}) == [widened(value) for value in range(128)]


def test_nrpn():
    select, data = ([0xB0, 99, 1], [0xB0, 98, 2]), ([0xB0, 6, 127], [0xB0, 38, 127])
    assert decoded(*select, *data, nrpn=True) == [Event("nrpn", 1, 130, 16383)] * 2
    assert decoded(*select, [0xB0, 96, 0], [0xB0, 97, 0], nrpn=True) == [
        Event("step", 1, 130, 1), Event("step", 1, 130, -1),
    ]  # fmt: skip
    assert [e.kind for e in decoded(*select, *data)] == ["cc"] * 4
    none = [0xB0, 99, 127], [0xB0, 98, 127]
    for end in (none, ([0xB0, 101, 0],)):
        assert decoded(*select, *end, [0xB0, 6, 5], nrpn=True) == [Event("cc", 1, 6, 5)]
    assert decoded([0xB0, 6, 5], nrpn=True) == [Event("cc", 1, 6, 5)]  # a desk's sixth fader


@given(st.integers(0, 127))
def test_a_faders_way_is_steady_and_goes_back(value):
    assert 0 <= fraction(value, 0, 64, 127) <= 1
    assert value == 0 or fraction(value, 0, 64, 127) > fraction(value - 1, 0, 64, 127)
    assert seven(fraction(value, 0, 64, 127)) == value
    assert fourteen(fraction(widened(value), 0, 8192, 16383)) == widened(value)


@given(st.integers(0, 127))
def test_encoders_turn_as_far_either_way(value):
    assert ticks(value, "offset") == value - 64
    assert -64 <= ticks(value, "twos") < 64
    assert ticks(value, "signed") == -ticks(value ^ 0x40, "signed")
    assert (ticks(value, "twos") - value) % 128 == 0


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ([Event("note", 10, 36, 90)], {"note": 36, "channel": 10}),
        ([Event("program", 1, 4, 4)], {"program": 5, "channel": 1}),
        ([Event("bend", 1, 0, 8200), Event("bend", 1, 0, 12000)], {"pitchbend": True, "channel": 1}),
        ([Event("nrpn", 3, 130, 5)], {"nrpn": 130, "channel": 3}),
        ([Event("cc", 1, 7, 10), Event("cc", 1, 7, 11)], {"cc": 7, "channel": 1}),
        ([Event("cc", 1, 7, 127), Event("cc", 1, 7, 0)], {"cc": 7, "channel": 1}),
        ([Event("cc", 1, 7, 10), Event("cc", 1, 39, 11)], {"cc14": 7, "channel": 1}),
        ([Event("cc", 1, 7, 1), Event("cc", 1, 7, 1)], {"cc": 7, "relative": "twos", "channel": 1}),
        ([Event("cc", 1, 7, 65), Event("cc", 1, 7, 65)], {"cc": 7, "relative": "offset", "channel": 1}),
        ([Event("cc", 1, 7, 63), Event("cc", 1, 7, 63)], {"cc": 7, "relative": "offset", "channel": 1}),
        ([Event("cc", 1, 7, v) for v in (65, 64, 65)], {"cc": 7, "relative": "offset", "channel": 1}),
        ([Event("cc", 1, 7, v) for v in (65, 64, 63)], {"cc": 7, "channel": 1}),
        ([Event("cc", 1, 7, 10), Event("cc", 1, 8, 10), Event("cc", 1, 8, 11)], {"cc": 8, "channel": 1}),
    ],
)
def test_what_is_moved_is_recognised(events, found):
    gather = Gather()
    heard = [gather.add(event, "a") for event in events]
    assert heard[:-1] == [None] * (len(events) - 1)
    assert heard[-1] == found
