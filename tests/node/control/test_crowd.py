"""What an audience does to a show: faders, polls, words, and how the performer overrules them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worldjockey.integrations import ControlEvent
from worldjockey.node.control.crowd import CrowdDriver
from worldjockey.node.control.crowd_faders import CrowdFaders
from worldjockey.node.control.desk import Desk
from worldjockey.node.control.polls import winner
from worldjockey.node.ipc.mailbox import Mailbox
from worldjockey.node.session.crowd import vocabulary
from worldjockey.node.show.crowd import CrowdFader, Poll
from worldjockey.node.show.schema import Show
from worldjockey.node.show.yaml_file import ShowError
from worldjockey.node.timing.show_clock import ShowClock

SHOW = """
name: the storm
pads: [{label: sea, text: a calm sea}, {label: city, text: neon city}]
cues: [{name: finale, values: {energy: 1}}]
values: {energy: 0.2}
crowd:
  faders:
  - {name: storm, labels: [calm, storm], to: energy, rate: 0.5, decay: 10, rest: 0}
  - {name: day, labels: [{en: day, de: Tag}, {en: night, de: Nacht}]}
  polls:
  - {name: way, question: {en: "Where to?", de: "Wohin?"}, options: [sea, city, finale], lasts: 4 s, quorum: 2}
  - {name: second, question: "Now?", options: [{label: dance, do: act/dance}, {label: rest, do: act/none}], on: none}
  - {name: yours, question: Which, lasts: 2 s, on: none, ties: performer,
     options: [sea, city, {label: cry, do: act/cry}]}
  words: {lifetime: 30, most: 2}
"""


class House:
    """A show with an audience, at 120 bpm with beat 0 at 1000 s."""

    def __init__(self, mailbox: Mailbox, known: frozenset[str] | None) -> None:
        self.show = Show.parse(SHOW)
        self.desk = Desk(self.show, mailbox, ShowClock(120, now=1000.0))
        self.asked: dict[str, Any] = {}
        assert self.show.crowd is not None
        self.crowd = CrowdDriver(self.show.crowd, self.desk, self.asked.update, known)
        self.desk.add_driver(self.crowd)
        self.now = 1000.0
        self.send("crowd/open", True)
        self.run(0.1)

    def send(self, target: str, *args: Any) -> None:
        self.desk.deliver(ControlEvent(target, args, self.now, "a hand"))

    def run(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.02
            self.desk.advance(self.now)

    def wish(self, median: float, votes: int = 3) -> None:
        self.crowd.take({"faders": {"storm": {"median": median, "votes": votes}}})

    def vote(self, *counts: int) -> None:
        poll = self.asked["poll"]["id"]
        self.crowd.take({"votes": {"poll": poll, "counts": list(counts), "voters": sum(counts)}})

    def say(self, **words: int) -> None:
        self.crowd.take({"words": [{"word": word, "count": count} for word, count in words.items()]})

    def __getitem__(self, name: str) -> Any:
        return self.desk.read(name)


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    box = Mailbox()
    yield box
    box.unlink()


@pytest.fixture
def house(mailbox: Mailbox) -> House:
    return House(mailbox, vocabulary("nano"))


def test_the_audience_is_asked_what_the_show_says(house: House) -> None:
    assert house.asked["crowd"] == {"open": True, "title": "the storm"}
    assert house.asked["faders"][1] == {
        "name": "day", "low": {"en": "day", "de": "Tag"}, "high": {"en": "night", "de": "Nacht"},
    }  # fmt: skip
    assert house.asked["poll"] is None
    assert {"storm", "rain"} <= set(house.asked["words"]["vocabulary"])


def test_a_fader_follows_the_median_at_its_rate_and_sinks_back_in_silence(house: House) -> None:
    house.run(1)
    assert house["energy"] == 0.2  # nobody has moved it
    house.wish(1.0)
    house.run(1)
    assert house["energy"] == pytest.approx(0.5, abs=0.03)
    house.run(2)
    assert house["energy"] == pytest.approx(1.0, abs=0.01)
    house.wish(0.5, votes=0)
    house.run(5)
    assert house["energy"] == pytest.approx(0.5, abs=0.03)
    house.run(6)
    assert house["energy"] == pytest.approx(0.0, abs=0.01)


def test_the_performer_overrules_and_gives_back(house: House) -> None:
    house.wish(1.0)
    house.run(1)
    house.send("energy", 0.1)
    house.run(3)
    assert house["energy"] == 0.1
    assert house.crowd.status()["faders"][0]["held"]
    house.send("crowd/back")
    house.run(0.2)
    assert house["energy"] == pytest.approx(1.0, abs=0.01)
    house.send("undo")  # takes back what the performer did, not what the audience does all the time
    assert house["energy"] == pytest.approx(0.5, abs=0.03)


def test_weight_is_how_far_the_audience_reaches(house: House) -> None:
    house.send("crowd/weight", 0.5)
    house.wish(1.0)
    house.run(3)
    assert house["energy"] == pytest.approx(0.5, abs=0.01)


def test_a_result_lands_on_the_bar(house: House) -> None:
    house.send("crowd/poll", "way")
    house.run(1)
    assert [option["label"] for option in house.asked["poll"]["options"]] == ["sea", "city", "finale"]
    house.send("pad/1", 1.0)
    house.vote(1, 5, 2)
    house.run(3.0)  # it closes 4.1 s after beat 0, within a bar of 2 s
    assert house["pad/2"] == 0.0
    house.run(5.4 + 1000.0 - house.now)
    assert house["pad/2"] == 0.0
    house.run(6.05 + 1000.0 - house.now)
    assert (house["pad/2"], house["pad/1"]) == (1.0, 0.0)  # the other option's pad is down
    assert house.asked["poll"]["winner"] == 1
    assert house.crowd.status()["last"] == "way: city"
    house.run(9)
    assert house.asked["poll"] is None


def test_options_that_are_pads_show_their_stills(house: House) -> None:
    house.crowd.stills = lambda: {"1": "/stills/sea.jpg", "2": "/stills/city.jpg"}
    house.send("crowd/poll", "way")
    house.run(0.1)
    assert [option.get("image") for option in house.asked["poll"]["options"]] == [
        "/stills/sea.jpg", "/stills/city.jpg", None,
    ]  # fmt: skip


def test_a_poll_fires_a_cue_and_the_next_one_an_act(house: House) -> None:
    house.send("crowd/poll", 1)
    house.run(0.1)
    house.vote(0, 0, 4)
    house.send("crowd/close")
    house.run(3)
    assert house["energy"] == 1.0
    house.send("crowd/poll")  # the next one
    house.run(0.1)
    house.vote(3, 1)
    house.send("crowd/close")
    house.run(0.1)
    assert house["act"] == "dance"


def test_too_few_votes_decide_nothing(house: House) -> None:
    house.send("crowd/poll", "way")
    house.run(0.1)
    house.vote(1, 0, 0)
    house.run(8)
    assert house.crowd.status()["last"] == "way: no result"
    assert house["pad/1"] == 0.0


def test_votes_for_another_poll_do_not_count(house: House) -> None:
    house.send("crowd/poll", "way")
    house.run(0.1)
    house.crowd.take({"votes": {"poll": 77, "counts": [9, 9, 9], "voters": 27}})
    assert house.crowd.status()["poll"]["counts"] == [0, 0, 0]


def test_the_performer_decides_a_tie(house: House) -> None:
    house.send("crowd/choose", "sea")
    assert "no poll is tied" in house.desk.error
    house.send("crowd/poll", "yours")
    house.run(0.2)
    house.vote(4, 4, 1)
    house.run(3)
    status = house.crowd.status()["poll"]
    assert (status["state"], status["tied"], status["winner"]) == ("tied", [0, 1], None)
    asked = house.asked["poll"]
    assert (asked["winner"], asked["seconds"], asked["counts"]) == (None, 0, [4, 4, 1])  # phones vote no more
    house.run(20)
    assert house.crowd.status()["poll"]["state"] == "tied", "it waits"
    house.send("crowd/choose", "cry")
    assert "'cry' is not tied: choose one of sea, city" in house.desk.error
    house.send("crowd/choose", 2)
    house.run(0.1)
    assert house["pad/2"] == 1.0
    assert house.crowd.status()["last"] == "yours: city"
    assert house.asked["poll"]["winner"] == 1


def test_without_a_tie_the_performer_is_not_asked(house: House) -> None:
    house.send("crowd/poll", "yours")
    house.run(0.2)
    house.vote(4, 3, 1)
    house.run(3)
    assert house.crowd.status()["last"] == "yours: sea"


def test_a_word_that_counts_is_blocked_and_all_are_cleared(house: House) -> None:
    house.say(storm=3, rain=2)
    house.run(0.1)
    assert house.crowd.status()["words"]["now"] == ["rain", "storm"]
    house.crowd.refuse("storm")
    house.run(0.1)
    assert (house.crowd.status()["words"]["now"], house["pad/16/text"]) == (["rain"], "rain")
    house.crowd.clear_words()
    house.run(0.1)
    assert (house.crowd.status()["words"]["now"], house["pad/16"]) == ([], 0.0)
    house.say(storm=3, rain=2)
    house.run(0.1)
    assert house.crowd.status()["words"]["now"] == ["rain"], "what was blocked stays so"


def test_known_words_make_the_prompt_of_a_pad(house: House) -> None:
    house.say(storm=5, forest=2, rain=1)
    house.run(0.1)
    assert (house["pad/16/text"], house["pad/16"]) == ("forest, storm", 0.6)
    house.run(31)
    assert house["pad/16"] == 0.0


def test_words_wait_for_approval_where_the_world_takes_any(mailbox: Mailbox) -> None:
    house = House(mailbox, vocabulary("turbo"))
    house.say(dragon=2, spam=9)
    house.run(0.1)
    assert house["pad/16"] == 0.0
    assert [row["word"] for row in house.crowd.status()["words"]["waiting"]] == ["dragon", "spam"]
    house.crowd.refuse("spam")
    house.crowd.approve("dragon")
    house.say(spam=3)
    house.run(0.1)
    assert (house["pad/16/text"], house["pad/16"]) == ("dragon", 0.6)
    assert house.crowd.status()["words"]["waiting"] == []
    with pytest.raises(ValueError, match="no word 'cat' waits"):
        house.crowd.approve("cat")


def test_one_button_shuts_the_audience_out(house: House) -> None:
    house.wish(1.0)
    house.say(storm=1)
    house.send("crowd/poll", "way")
    house.run(2)
    house.vote(9, 0, 0)
    house.send("crowd/shut")
    house.run(0.1)
    assert house.asked["crowd"]["open"] is False
    assert house["energy"] == 0.2  # as it was
    assert house["pad/16"] == 0.0
    house.wish(1.0)
    house.run(9)
    assert (house["energy"], house["pad/1"]) == (0.2, 0.0)
    house.send("crowd/poll", "way")
    assert "crowd/open" in house.desk.error


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("to: energy|to: prompt", "use a poll"), ("[calm, storm]|[calm]", "labels"),
        ("[sea, city, finale]|[sea, moon]", "no cue or pad named 'moon'"), ("[sea, city, finale]|[sea]", "options"),
        ("do: act/dance|do: crowd/open", "its own controls"), ("lasts: 4 s|lasts: soon", "duration"),
        ("name: second|name: way", "two polls named 'way'"),
    ][:-1],
)  # fmt: skip
def test_a_wrong_section_is_refused_with_the_fix(wrong: str, reason: str) -> None:
    old, new = wrong.split("|")
    assert old in SHOW
    with pytest.raises(ShowError, match=reason):
        Show.parse(SHOW.replace(old, new))


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 5), st.floats(0.01, 3)), max_size=30),
    st.floats(0, 1), st.floats(0.01, 10), st.floats(0.1, 100), st.floats(0, 1),
)  # fmt: skip
def test_a_fader_never_moves_faster_than_its_rate(
    wishes: list[tuple[float, int, float]], rest: float, rate: float, decay: float, weight: float
) -> None:
    value = {"energy": rest}
    fader = CrowdFader(name="a", labels=("low", "high"), to="energy", rest=rest, rate=rate, decay=decay)
    faders = CrowdFaders([fader], value.__getitem__, value.__setitem__)
    now, before = 0.0, rest
    faders.advance(now, weight)
    for median, votes, seconds in wishes:
        faders.wish("a", median, votes)
        now += seconds
        faders.advance(now, weight)
        here = faders.values["a"]
        assert abs(here - before) <= max(rate, 1 / decay) * seconds + 1e-9
        assert 0 <= here <= 1
        before = here


@given(st.lists(st.integers(0, 9), min_size=2, max_size=8), st.integers(1, 30), st.integers())
def test_only_the_best_can_win(counts: list[int], quorum: int, seed: int) -> None:
    poll = Poll(name="a", question="b", options=[{"label": str(n)} for n in range(len(counts))], quorum=quorum)  # type: ignore[list-item]
    won = winner(poll, counts, seed)
    if sum(counts) < quorum or not max(counts):
        assert won is None
    else:
        assert won is not None
        assert counts[won] == max(counts)
    assert won == winner(poll, counts, seed)
