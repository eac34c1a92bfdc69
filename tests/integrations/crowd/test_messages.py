"""What phones may send, and how words are cleaned."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worldjockey.integrations.crowd.messages import Moved, Play, Seat, Vote, Word, parse
from worldjockey.integrations.crowd.room import Room
from worldjockey.integrations.crowd.words import CHARS_MAX, Blocklist, clean


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ({"fader": ["storm", 1]}, Moved("storm", 1.0)),
        ({"vote": [3, 0]}, Vote(3, 0)),
        ({"word": "rain"}, Word("rain")),
        ({"seat": True}, Seat(True)),
        ({"play": {"axes": [0, -1], "buttons": ["a"]}}, Play((0.0, -1.0), ("a",))),
    ],
)
def test_the_five_messages(message, found):
    assert parse(json.dumps(message)) == found


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "1", '"x"', "{}", '{"fader":["storm",1],"vote":[3,0]}', '{"fader":["storm",2]}',
        '{"fader":["storm",true]}', '{"fader":["storm",NaN]}', '{"fader":["storm",1e999]}', '{"vote":[true,0]}',
        '{"vote":[3,8]}', '{"vote":[3,-1]}', '{"word":""}', '{"seat":1}', '{"play":{"axes":[0],"buttons":[]}}',
        '{"play":{"axes":[0,0],"buttons":[],"parameter":"blackout"}}', '{"set":{"blackout":1}}', "[" * 900,
        '{"fader":["' + "x" * 2000 + '",1]}', '{"vote":[' + "9" * 900 + ",0]}",
    ],
)  # fmt: skip
def test_all_else_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011
        parse(text)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=200))
def test_a_cleaned_word_is_clean(text):
    word = clean(text)
    assert len(word) <= CHARS_MAX
    assert clean(word) == word
    assert not set('<>&"\\\n\r\t\0\u202e\u200b') & set(word)


@pytest.mark.parametrize(
    ("text", "word"),
    [("  Red   RAIN!! ", "red rain"), ("雨", "雨"), ("x" * 25, ""),
     ("Z\u0300\u0301\u0302\u0303a", "z\u0300\u0301a"), ("\u202eevil", "evil"), ("123", ""), ("مطر", "مطر")],
)  # fmt: skip
def test_words(text, word):
    assert clean(text) == word


def test_blocked_words_however_they_are_spelled():
    blocked = Blocklist(["fool", "ass"])
    for word in ("fool", "f00l", "foooool", "fòòl", "f o o l", "foolish", "ass", "a s s", "big ass"):
        assert blocked.has(clean(word)), word
    for word in ("folk", "glass", "pass", "rain", "cool"):
        assert not blocked.has(clean(word)), word


def room(people: int = 100, per_address: int = 100) -> Room:
    made = Room(people, per_address)
    made.obey({
        "crowd": {"open": True}, "faders": [{"name": "storm"}],
        "poll": {"id": 1, "options": [{"label": "Sea"}, {"label": {"en": "Desert", "de": "Wüste"}}], "seconds": 20},
        "words": {"open": True, "vocabulary": None, "blocked": [], "per_person_s": 20},
    })  # fmt: skip
    return made


def test_nobody_stuffs_the_ballot_by_coming_again():
    crowd = room(per_address=5)
    for number in range(200):
        token = f"token{number:015}"
        assert crowd.enter(token, "one address", number * 0.01)
        crowd.take(token, Vote(1, 0), number * 0.01)
        crowd.leave(token, number * 0.01)
    assert crowd.votes() == {"poll": 1, "counts": [5, 0], "voters": 5}
    assert len(crowd.persons) == 5


def test_a_full_room_keeps_those_who_are_there():
    crowd = room(people=3, per_address=10)
    for number in range(3):
        assert crowd.enter(f"here {number}", number, 0.0)
    assert crowd.enter("late", "late", 1.0) is None
    crowd.leave("here 1", 2.0)
    assert crowd.heads == 2
    assert crowd.enter("late", "late", 3.0)
    assert crowd.heads == 3


def test_a_fader_is_forgotten_after_a_while():
    crowd = room()
    crowd.enter("a", 1, 0.0)
    crowd.enter("b", 1, 0.0)
    crowd.take("a", Moved("storm", 1.0), 0.0)
    crowd.take("b", Moved("storm", 0.0), 20.0)
    assert crowd.faders(25.0) == {"storm": {"median": 0.5, "votes": 2}}
    assert crowd.faders(31.0) == {"storm": {"median": 0.0, "votes": 1}}
    assert crowd.faders(60.0)["storm"]["votes"] == 0


def test_one_word_a_person_in_a_while():
    crowd = room()
    crowd.enter("a", 1, -5.0)
    assert crowd.take("a", Word("rain"), 0.0) == {"word": "taken"}
    assert crowd.take("a", Word("snow"), 19.0) == {"word": "wait"}
    assert crowd.take("a", Word("snow"), 21.0) == {"word": "taken"}
    assert crowd.take_words() == [{"word": "rain", "count": 1}, {"word": "snow", "count": 1}]
    assert crowd.take_words() == []


@pytest.mark.parametrize(
    ("line", "option"), [("1", 0), ("!2", 1), (" desert ", 1), ("WÜSTE!", 1), ("3", None), ("12", None), ("", None)]
)
def test_a_chat_line_names_an_option(line, option):
    assert room().option(line) == option
