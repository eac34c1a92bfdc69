"""The audience as a driver of the show: faders, polls and words become controls, with the source "crowd"."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from worldjockey.integrations import ControlEvent

from ..parameters import PARAMETERS, is_number, to_number
from ..show.crowd import Crowd, PollOption, plain, prompt_of
from ..show.keys import action
from .arguments import Handler, has_no_value, named, on_press
from .crowd_faders import CrowdFaders
from .crowd_words import CrowdWords
from .desk import Desk
from .polls import SHOWN_S, OpenPoll

SOURCE = "crowd"
Ask = Callable[[Mapping[str, Any]], None]


class CrowdDriver:
    """ask: shows the audience what it is asked, each kind in place of what it was (`CrowdInput.send`). vocabulary: of
    the world, None where it takes any word. blocked: words that never count."""

    name = "the crowd"

    def __init__(self, crowd: Crowd, desk: Desk, ask: Ask, vocabulary: Collection[str] | None = None,
                 blocked: Collection[str] = ()) -> None:  # fmt: skip
        self._crowd, self._desk, self._ask = crowd, desk, ask
        self.faders = CrowdFaders(crowd.faders, desk.read, lambda to, value: self._play(to, value))
        self.words = CrowdWords(crowd.words, vocabulary) if crowd.words else None
        self.poll: OpenPoll | None = None
        self.last = ""  # the result of the last poll, in words
        self.stills: Callable[[], Mapping[str, str]] = dict  # addresses of the present bank's stills, by pad
        self._polls = 0
        self._next = 0  # index of the poll that is next
        self._words_now: list[str] = []
        self._open = False
        self._asked: dict[str, Any] = {}
        self._now = 0.0
        self._faders_asked = [{"name": f.name, "low": f.labels[0], "high": f.labels[1]} for f in crowd.faders]
        self._words_asked: dict[str, Any] = {}
        if crowd.words is not None:
            self._words_asked = {
                "per_person_s": crowd.words.per_person, "blocked": [*blocked, *crowd.words.blocked],
                "vocabulary": None if vocabulary is None else sorted(vocabulary),
            }  # fmt: skip
        self.commands: dict[str, Handler] = {
            "crowd/shut": on_press(self._shut),
            "crowd/back": on_press(self._give_back, takes_name=True),
            "crowd/poll": on_press(self._open_poll, takes_name=True),
            "crowd/close": on_press(self._close_poll),
            "crowd/choose": on_press(self._choose, takes_name=True),
            "crowd/cancel": on_press(lambda control: self._end_poll("cancelled")),
        }

    # -- what arrives --------------------------------------------------------------------------------------------------

    def take(self, aggregate: Mapping[str, Any]) -> None:
        """What the audience wants together, from the input's thread."""
        with self._desk.lock:
            if not self._open:
                return
            for name, each in aggregate.get("faders", {}).items():
                self.faders.wish(name, each["median"], each["votes"])
            if self.poll is not None and (votes := aggregate.get("votes")):
                self.poll.count(votes["poll"], votes["counts"])
            if self.words is not None and self._desk.values["crowd/words"]:
                self.words.take(((each["word"], each["count"]) for each in aggregate.get("words", ())), self._now)

    # -- commands ------------------------------------------------------------------------------------------------------

    def _shut(self, control: ControlEvent) -> None:
        self._desk.store.set(PARAMETERS["crowd/open"], False, control.arrived_at)
        self._follow_open()

    def _follow_open(self) -> None:
        """Whatever closes the crowd takes back what it moves."""
        is_open = bool(self._desk.values["crowd/open"])
        if self._open and not is_open:
            self._end_poll("cancelled")
            self.faders.release()
            if self.words is not None:
                self.words.clear()
        self._open = is_open

    def _give_back(self, control: ControlEvent) -> None:
        self.faders.give_back("" if has_no_value(control.args) else str(control.args[0]))

    def _open_poll(self, control: ControlEvent) -> None:
        polls = self._crowd.polls
        if not polls:
            raise ValueError("this show has no polls: add them to `crowd: polls:`")
        if not self._desk.values["crowd/open"]:
            raise ValueError("the crowd is closed: open it with crowd/open, then the poll")
        self._follow_open()
        index = self._next % len(polls) if has_no_value(control.args) else self._index(named(control.args)[0])
        self._next = index + 1
        self._polls += 1
        poll = polls[index]
        length = poll.lasts.seconds(self._desk.clock.bpm, self._desk.clock.meter) if poll.lasts else 20.0
        self.poll = OpenPoll(poll, self._polls, control.arrived_at + length)

    def _index(self, key: Any) -> int:
        names = [poll.name.lower() for poll in self._crowd.polls]
        if str(key).lower() in names:
            return names.index(str(key).lower())
        try:
            number = int(float(key))
        except ValueError:
            number = 0
        if not 1 <= number <= len(names):
            raise ValueError(f"there is no poll {str(key)[:40]!r}: the show has {', '.join(names)}")
        return number - 1

    def _close_poll(self, control: ControlEvent) -> None:
        if self.poll is not None and self.poll.state == "open":
            self.poll.closes_at = control.arrived_at

    def _choose(self, control: ControlEvent) -> None:
        """The performer decides a tie."""
        poll = self.poll
        if poll is None or poll.state != "tied":
            raise ValueError("no poll is tied: there is nothing to choose")
        choice = self._option(poll, named(control.args)[0] if control.args else "")
        now, clock = control.arrived_at, self._desk.clock
        poll.decide(now, clock.line(now), clock.meter, self._desk.latency, choice)

    def _option(self, poll: OpenPoll, key: Any) -> int:
        """The index of one of the tied options, by its label or its number among all."""
        labels = [plain(option.label).lower() for option in poll.poll.options]
        wanted = str(key).strip().lower()
        found = labels.index(wanted) if wanted in labels else -1
        if found < 0 and is_number(key):
            found = int(to_number(key)) - 1
        if found not in poll.tied:
            tied = ", ".join(labels[index] for index in poll.tied)
            raise ValueError(f"{str(key)[:40]!r} is not tied: choose one of {tied}")
        return found

    def _end_poll(self, why: str) -> None:
        if self.poll is not None and self.poll.state != "ended":
            self.last = f"{self.poll.poll.name}: {why}"
        self.poll = None

    # -- what moves by itself ------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        self._now = now
        self._follow_open()
        self.faders.advance(now, float(self._desk.values["crowd/weight"]))
        if self.poll is not None:
            self._advance_poll(self.poll, now)
        if self.words is not None:
            self._play_words(self.words, now)
        asked = self.asked(now)
        if news := {kind: value for kind, value in asked.items() if self._asked.get(kind, ...) != value}:
            self._asked = asked
            self._ask(news)

    def _advance_poll(self, poll: OpenPoll, now: float) -> None:
        clock = self._desk.clock
        line = clock.line(now)
        if poll.state == "open" and now >= poll.closes_at:
            poll.decide(now, line, clock.meter, self._desk.latency)
        if poll.is_due(now, line, self._desk.latency):
            poll.state = "ended"
            if poll.winner is None:
                self.last = f"{poll.poll.name}: no result"
            else:
                self.last = f"{poll.poll.name}: {plain(poll.poll.options[poll.winner].label)}"
                self._play_option(poll, poll.poll.options[poll.winner])
        if poll.state == "ended" and now - poll.decided_at > SHOWN_S:
            self.poll = None

    def _play_option(self, poll: OpenPoll, option: PollOption) -> None:
        """Carry out what won."""
        does = self._meant(option)
        if does is None:
            return
        if does.startswith("pad/"):  # the winner's pad alone
            for other in poll.poll.options:
                to = self._meant(other)
                if to and to.startswith("pad/") and to.split()[0] != does.split()[0]:
                    self._play(to.split()[0], 0.0)
        what = action(does)
        self._play(what.target, *(what.args[:1]))

    def _meant(self, option: PollOption) -> str | None:
        """What an option does, as a key does it; None for one that only tells something."""
        if option.do is not None:
            return option.do
        label, show = plain(option.label).lower(), self._desk.show
        for cue in show.cues:
            if cue.name.lower() == label:
                return f"cue/go {cue.name}"
        for number, pad in enumerate(show.bank(int(self._desk.values["bank"])), 1):
            if pad.label.lower() == label:
                return f"pad/{number}"
        return None

    def _option_asked(self, option: PollOption) -> dict[str, Any]:
        image = self._image(option)
        return {"label": option.label, "image": image} if image else {"label": option.label}

    def _image(self, option: PollOption) -> str:
        """The still of the pad that an option brings up; empty where there is none."""
        does = self._meant(option) or ""
        return self.stills().get(does.removeprefix("pad/").split()[0], "") if does.startswith("pad/") else ""

    def _play_words(self, words: CrowdWords, now: float) -> None:
        chosen = words.now(now) if self._open and self._desk.values["crowd/words"] else []
        if chosen == self._words_now:
            return
        options = self._crowd.words
        assert options is not None
        if chosen:
            self._play(f"pad/{options.pad}/text", prompt_of(chosen))
        self._play(f"pad/{options.pad}", options.weight if chosen else 0.0)
        self._words_now = chosen

    def _play(self, target: str, *args: Any) -> None:
        self._desk.deliver(ControlEvent(target, args, self._now, SOURCE))

    # -- what others see -----------------------------------------------------------------------------------------------

    def asked(self, now: float) -> dict[str, Any]:
        """What the audience is asked now."""
        crowd, poll = self._crowd, self.poll
        shown = None
        if poll is not None:
            shown = {
                "id": poll.number, "question": poll.poll.question,
                "options": [self._option_asked(option) for option in poll.poll.options],
                "seconds": max(round(poll.closes_at - now), 0),
                "winner": None if poll.state in ("open", "tied") else -1 if poll.winner is None else poll.winner,
                "counts": poll.counts,
            }  # fmt: skip
            if poll.state == "open":
                del shown["counts"]  # the server counts
        return {
            "crowd": {"open": self._open, "title": crowd.title or self._desk.show.name},
            "faders": self._faders_asked, "poll": shown,
            "words": self._words_asked and {**self._words_asked, "open": bool(self._desk.values["crowd/words"])},
        }  # fmt: skip

    @property
    def is_open(self) -> bool:
        return self._open

    def status(self) -> dict[str, Any]:
        """For the surface."""
        poll = self.poll
        return {
            "open": self._open,
            "faders": [
                {"name": name, "labels": [plain(label) for label in m.fader.labels], "to": m.fader.to or "",
                 "value": round(m.value, 3), "votes": m.votes, "held": m.held}
                for name, m in self.faders.moved.items()
            ],
            "polls": [poll.name for poll in self._crowd.polls],
            "poll": None if poll is None else {
                "name": poll.poll.name, "question": plain(poll.poll.question), "state": poll.state,
                "options": [plain(option.label) for option in poll.poll.options], "counts": poll.counts,
                "images": [self._image(option) for option in poll.poll.options], "winner": poll.winner,
                "tied": poll.tied if poll.state == "tied" else [],
                "seconds": round(max(poll.closes_at - self._now, 0.0), 1),
            },
            "last": self.last,
            "words": None if self.words is None else {
                "waiting": [{"word": w, "count": n} for w, n in list(self.words.waiting.items())[:40]],
                "now": self._words_now, "approves": self.words.approves,
            },
        }  # fmt: skip

    def approve(self, word: str) -> None:
        """A word that waits counts from now on. ValueError where it does not wait."""
        with self._desk.lock:
            self._needs_words().approve(word, self._now)

    def refuse(self, word: str) -> None:
        """A word never counts in this show."""
        with self._desk.lock:
            self._needs_words().refuse(word)

    def clear_words(self) -> None:
        """No word counts or waits any more; the same ones may come again."""
        with self._desk.lock:
            self._needs_words().clear()

    def _needs_words(self) -> CrowdWords:
        if self.words is None:
            raise ValueError("this show takes no words: add `words: {}` to its `crowd`")
        return self.words
