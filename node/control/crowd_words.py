"""Words from an audience: which wait for approval, and which count now. Pure: the moment comes with each call."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..show.crowd import Words

WAITING_MAX = 100


class CrowdWords:
    """vocabulary: the only words that the world knows, which are safe; None where it takes any."""

    def __init__(self, words: Words, vocabulary: Collection[str] | None) -> None:
        self.approves = words.approve if words.approve is not None else vocabulary is None
        self._words = words
        self.waiting: dict[str, int] = {}
        self.approved: set[str] = set(vocabulary or ()) if not self.approves else set()
        self.refused: set[str] = set()
        self._said: dict[str, tuple[float, int]] = {}  # by word: when it came last, and how often it was said

    def take(self, found: Iterable[tuple[str, int]], now: float) -> None:
        for word, count in found:
            if word in self.refused:
                continue
            if self.approves and word not in self.approved:
                if word in self.waiting or len(self.waiting) < WAITING_MAX:
                    self.waiting[word] = self.waiting.get(word, 0) + count
                continue
            self._said[word] = (now, self._said.get(word, (now, 0))[1] + count)

    def approve(self, word: str, now: float) -> None:
        """ValueError where no such word waits."""
        if word not in self.waiting:
            raise ValueError(f"no word {word[:40]!r} waits")
        self.approved.add(word)
        self.take([(word, self.waiting.pop(word))], now)

    def refuse(self, word: str) -> None:
        """It never counts again in this show."""
        self.refused.add(word)
        self.waiting.pop(word, None)
        self._said.pop(word, None)

    def clear(self) -> None:
        self.waiting.clear()
        self._said.clear()

    def now(self, now: float) -> list[str]:
        """The words that count now: of those said within their lifetime the ones said most, in the order of their
        names, so that the prompt changes only where the words do."""
        self._said = {word: said for word, said in self._said.items() if now - said[0] < self._words.lifetime}
        most = sorted(self._said, key=lambda word: (-self._said[word][1], word))[: self._words.most]
        return sorted(most)
