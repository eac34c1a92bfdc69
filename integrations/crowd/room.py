"""Who is in the room, and what they want together: faders, votes, words, seats. No sockets; times are time.monotonic().

A person is a random token. What a person did is kept while their page is open and LEFT_S longer (phones lock), and is
never passed on: only `Room.faders`, `votes`, `take_words` and `players` are.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

from .messages import FADERS_MAX, OPTIONS_MAX, Message, Moved, Play, Seat, Vote, Word
from .words import Blocklist, clean

HOLD_S = 30.0  # for which a moved fader counts
LEFT_S = 300.0  # for which a person is remembered whose page closed
WORD_AFTER_S = 2.0  # after a person came: nobody types sooner, and who comes anew for each word must wait
CHAT = "chat"  # the address of those who take part by a chat
WORDS_A_LINE = 64
WORDS_WAITING_MAX = 512
SEATS_MAX = 64


class Person:
    """address: a key of the network address, for the limit of persons behind one. pages: how many are open."""

    __slots__ = ("address", "axes", "buttons", "came_at", "left_at", "pages", "seat", "vote", "word_at")

    def __init__(self, address: Hashable, came_at: float) -> None:
        self.address, self.came_at = address, came_at
        self.pages = 0
        self.left_at = 0.0
        self.vote: tuple[int, int] | None = None  # the poll and the option
        self.word_at = float("-inf")
        self.seat = 0  # from 1; 0 is none
        self.axes = (0.0, 0.0)
        self.buttons: tuple[str, ...] = ()


class Room:
    """persons_max: in all. per_address: behind one network address."""

    def __init__(self, persons_max: int, per_address: int) -> None:
        self._persons_max, self._per_address = persons_max, per_address
        self.persons: dict[str, Person] = {}
        self._by_address: dict[Hashable, dict[str, None]] = {}  # the tokens, oldest first
        self._away: dict[str, None] = {}  # persons without a page, the longest away first
        self.open = False
        self._faders: dict[str, dict[str, tuple[float, float]]] = {}  # by name and person: value, and when
        self._poll: int | None = None
        self._options = 0
        self._closed = False  # of the poll
        self._counts = [0] * OPTIONS_MAX
        self._labels: dict[str, int] = {}
        self._words_open, self._word_every_s = False, 20.0
        self._vocabulary: frozenset[str] | None = None
        self._blocked = Blocklist()
        self._words: Counter[str] = Counter()
        self._seats = 0
        self._seated: dict[int, str] = {}
        self.heads = 0  # persons with a page

    # -- what the show wants -----------------------------------------------------------------------------------------

    def obey(self, message: Mapping[str, Any]) -> None:
        """One line of the control process; other kinds are ignored."""
        if "crowd" in message:
            self.open = bool(message["crowd"].get("open"))
            if not self.open:
                self._faders = {name: {} for name in self._faders}
                self._words.clear()
                self._empty_seats(0)
        if "faders" in message:
            names = [fader["name"] for fader in message["faders"][:FADERS_MAX]]
            self._faders = {name: self._faders.get(name, {}) for name in names}
        if "poll" in message:
            self._set_poll(message["poll"])
        if "words" in message:
            words = message["words"]
            self._words_open, self._word_every_s = bool(words.get("open")), float(words.get("per_person_s", 20.0))
            vocabulary = words.get("vocabulary")
            self._vocabulary = None if vocabulary is None else frozenset(map(clean, vocabulary))
            self._blocked = Blocklist(words.get("blocked") or ())
            if not self._words_open:
                self._words.clear()
        if "players" in message:
            players = message["players"]
            self._seats = min(int(players.get("seats", 0)), SEATS_MAX) if players.get("open") else 0
            self._empty_seats(self._seats)

    def _set_poll(self, poll: Mapping[str, Any] | None) -> None:
        number = None if poll is None else poll["id"]
        if number != self._poll:
            self._counts = [0] * OPTIONS_MAX
            for person in self.persons.values():
                person.vote = None
        self._poll = number
        self._options = 0 if poll is None else min(len(poll["options"]), OPTIONS_MAX)
        self._closed = poll is None or poll.get("winner") is not None or not poll.get("seconds", 1)
        self._labels = {}
        for index, option in enumerate(poll["options"][:OPTIONS_MAX] if poll else ()):
            label = option["label"]
            for text in label.values() if isinstance(label, Mapping) else (label,):
                self._labels.setdefault(clean(text), index)

    def option(self, text: str) -> int | None:
        """The option of the open poll that a chat line names: "1", "!2", or a label."""
        number = text.strip().removeprefix("!")
        if number.isascii() and number.isdigit() and len(number) == 1:
            return int(number) - 1 if 1 <= int(number) <= self._options else None
        return self._labels.get(clean(text)) if text else None

    def knows(self, word: str) -> bool:
        """Whether it is a word of the show's vocabulary."""
        return self._vocabulary is not None and clean(word) in self._vocabulary

    @property
    def poll(self) -> int | None:
        """The id of the poll that takes votes now."""
        return None if self._closed or not self.open else self._poll

    # -- persons -----------------------------------------------------------------------------------------------------

    def enter(self, token: str, address: Hashable, now: float) -> Person | None:
        """A page of a person opened, or a person of a chat appeared. None where the room is full.

        Where too many share one address, the person of it who is longest away is forgotten, with their vote: so nobody
        stuffs the ballot by coming again and again.
        """
        person = self.persons.get(token)
        if person is None:
            theirs = self._by_address.get(address, {})
            if len(theirs) >= self._per_address:
                gone = next((other for other in theirs if not self.persons[other].pages), None)
                if gone is None:
                    return None
                self._forget(gone)
            if len(self.persons) >= self._persons_max:
                if not self._away:
                    return None
                self._forget(next(iter(self._away)))
            person = self.persons[token] = Person(address, now)
            self._by_address.setdefault(address, {})[token] = None
        if not person.pages:
            self.heads += 1
            self._away.pop(token, None)
        person.pages += 1
        return person

    def leave(self, token: str, now: float) -> None:
        """A page of a person closed."""
        person = self.persons.get(token)
        if person is None or not person.pages:
            return
        person.pages -= 1
        if not person.pages:
            self.heads -= 1
            person.left_at = now
            self._away[token] = None
            if person.seat:
                self._stand(token, person)

    def forget_old(self, now: float) -> None:
        """Forget who is away for long."""
        while self._away:
            token = next(iter(self._away))
            if now - self.persons[token].left_at < LEFT_S:
                return
            self._forget(token)

    def _forget(self, token: str) -> None:
        person = self.persons.pop(token)
        self._away.pop(token, None)
        theirs = self._by_address[person.address]
        del theirs[token]
        if not theirs:
            del self._by_address[person.address]
        if person.vote is not None and person.vote[0] == self._poll and not self._closed:
            self._counts[person.vote[1]] -= 1
        for moved in self._faders.values():
            moved.pop(token, None)

    # -- what a person does ------------------------------------------------------------------------------------------

    def take(self, token: str, message: Message, now: float) -> dict[str, Any] | None:
        """Obey a message. Returns what the page is told, if anything: {"vote": [poll, option]}, {"word": "taken" |
        "unknown" | "wait"}, {"seat": number, 0 for none}."""
        person = self.persons.get(token)
        if person is None or not self.open:
            return None
        match message:
            case Moved(name, value):
                if name in self._faders:
                    self._faders[name][token] = value, now
            case Vote(poll, option):
                if poll == self.poll and option < self._options:
                    if person.vote is not None:
                        self._counts[person.vote[1]] -= 1
                    person.vote = poll, option
                    self._counts[option] += 1
                    return {"vote": [poll, option]}
            case Word(text):
                return {"word": self._word(person, text, now)}
            case Seat(wanted):
                if wanted and not person.seat:
                    self._sit(token, person)
                elif not wanted and person.seat:
                    self._stand(token, person)
                return {"seat": person.seat}
            case Play(axes, buttons):
                if person.seat:
                    person.axes, person.buttons = axes, buttons
        return None

    def _word(self, person: Person, text: str, now: float) -> str:
        if not self._words_open:
            return "unknown"
        early = now - person.came_at < WORD_AFTER_S and person.address != CHAT
        if early or now - person.word_at < self._word_every_s:
            return "wait"
        word = clean(text)
        if not word or (self._vocabulary is not None and word not in self._vocabulary) or self._blocked.has(word):
            return "unknown"
        person.word_at = now
        if word in self._words or len(self._words) < WORDS_WAITING_MAX:
            self._words[word] += 1
        return "taken"

    def _sit(self, token: str, person: Person) -> None:
        seat = next((number for number in range(1, self._seats + 1) if number not in self._seated), 0)
        if seat:
            self._seated[seat], person.seat = token, seat

    def _stand(self, token: str, person: Person) -> None:
        self._seated.pop(person.seat, None)
        person.seat, person.axes, person.buttons = 0, (0.0, 0.0), ()

    def _empty_seats(self, above: int) -> None:
        for seat, token in list(self._seated.items()):
            if seat > above:
                self._stand(token, self.persons[token])

    # -- aggregates --------------------------------------------------------------------------------------------------

    def faders(self, now: float) -> dict[str, dict[str, Any]]:
        """The median of those who moved each fader within HOLD_S, and how many they are."""
        found = {}
        for name, moved in self._faders.items():
            for token in [token for token, (_, at) in moved.items() if now - at > HOLD_S]:
                del moved[token]
            values = [value for value, _ in moved.values()]
            found[name] = {"median": round(statistics.median(values), 4) if values else 0.5, "votes": len(values)}
        return found

    def votes(self) -> dict[str, Any] | None:
        """The votes of the poll, also after it closed; None without one."""
        if self._poll is None:
            return None
        counts = self._counts[: self._options]
        return {"poll": self._poll, "counts": counts, "voters": sum(counts)}

    def take_words(self) -> list[dict[str, Any]]:
        """The words since the last call, the most frequent first. Those that do not fit wait."""
        taken = self._words.most_common(WORDS_A_LINE)
        for word, _ in taken:
            del self._words[word]
        return [{"word": word, "count": count} for word, count in taken]

    def players(self) -> list[dict[str, Any]]:
        return [
            {"seat": seat, "axes": list(self.persons[token].axes), "buttons": list(self.persons[token].buttons)}
            for seat, token in sorted(self._seated.items())
        ]

    def own(self, person: Person) -> dict[str, Any]:
        """What the page of a person must know when it comes back."""
        vote = person.vote if person.vote is not None and person.vote[0] == self._poll else None
        return {"vote": vote, "seat": person.seat}
