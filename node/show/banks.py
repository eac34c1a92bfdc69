"""Banks of prompts for the sixteen pads. Pure: each change returns a new value.

Switching to another bank changes nothing on the program. An active pad, one whose weight is above 0, keeps its old
prompt, and controllers, lights and feedback go on with that one until its weight is 0 or a cue raises the pad anew.
Then the pad takes the prompt of the present bank. So a key that was pressed before the switch can be released after
it, a fader stays where it is, and no active prompt is out of reach. A text that is written on a pad belongs to its
bank.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..parameters import PADS, PARAMETERS, bare, is_number, number_text, to_number

WEIGHTS = {f"pad/{n}": n for n in range(1, PADS + 1)}
TEXTS = {f"pad/{n}/text": n for n in range(1, PADS + 1)}


@dataclass(frozen=True)
class Banks:
    """The banks and what each pad holds. Pads are counted from 1, banks from 0.

    names: of the banks. texts: of each bank, by pad. now: the present bank. of: for each pad, the bank whose prompt it
    has.
    """

    names: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    now: int = 0
    of: tuple[int, ...] = (0,) * PADS

    @classmethod
    def revived(cls, state: Mapping[str, Any]) -> Banks:
        """The banks from their `dataclasses.asdict`, after JSON."""
        texts = tuple(tuple(map(str, bank)) for bank in state["texts"])
        return cls(tuple(map(str, state["names"])), texts, int(state["now"]), tuple(map(int, state["of"])))

    @property
    def name(self) -> str:
        return self.names[self.now]

    @property
    def values(self) -> dict[str, Any]:
        """The parameters that it sets: the bank's number and the texts of the pads."""
        return {"bank": self.now + 1, **{name: self.text(n) for name, n in TEXTS.items()}}

    def text(self, pad: int) -> str:
        return self.texts[self.of[pad - 1]][pad - 1]

    def index(self, key: Any) -> int:
        """The bank of a number from 1, which is clamped, or of a name. ValueError, with the names, for another name."""
        names = [name.lower() for name in self.names]
        if isinstance(key, float) and not key.is_integer() and (name := number_text(key)) in names:
            return names.index(name)
        if isinstance(key, str):
            wanted = bare(key).lower()
            for spelt in (wanted, wanted.replace("_", " ")):
                if spelt in names:
                    return names.index(spelt)
            if not is_number(wanted):
                near = difflib.get_close_matches(wanted, names, 1)
                hint = f", did you mean {near[0]!r}?" if near else f": the show has {', '.join(self.names)}"
                raise ValueError(f"there is no bank {key[:80]!r}{hint}")
            key = to_number(wanted)
        return int(min(PARAMETERS["bank"].coerce(key), len(names))) - 1

    def switched(self, to: int, active: Container[int] = ()) -> Banks:
        """Bank `to` is the present one; active pads keep their prompts."""
        of = tuple(bank if pad in active else to for pad, bank in enumerate(self.of, 1))
        return replace(self, now=to, of=of)

    def released(self, pad: int) -> Banks:
        """The pad is no longer active, and takes the prompt of the present bank."""
        return replace(self, of=(*self.of[: pad - 1], self.now, *self.of[pad:]))

    def written(self, pad: int, text: str) -> Banks:
        """The present bank with another text on a pad; the pad takes that text."""
        if self.text(pad) == text:
            return self
        bank = self.texts[self.now]
        bank = (*bank[: pad - 1], text, *bank[pad:])
        texts = (*self.texts[: self.now], bank, *self.texts[self.now + 1 :])
        return replace(self.released(pad), texts=texts)

    def rewritten(self, before: Banks, after: Banks) -> Banks:
        """With the texts that differ between two states of the show's file. All others stay, also where a control has
        written them."""
        texts = tuple(
            tuple(new if new != old else text for text, old, new in zip(bank, was, becomes, strict=True))
            for bank, was, becomes in zip(self.texts, before.texts, after.texts, strict=True)
        )
        return replace(self, texts=texts)

    def recalled(self, values: Mapping[str, Any], active: Container[int] = ()) -> Banks:
        """The banks whose pads have the texts of `values`. An active pad whose weight in `values` is 0 keeps its prompt
        until its weight gets there."""
        to = self.index(values.get("bank", 1))
        found = self.switched(to)
        for name, pad in TEXTS.items():
            text, raised = values.get(name, ""), bool(values.get(f"pad/{pad}"))
            owner = next((k for k, bank in enumerate(self.texts) if bank[pad - 1] == text), to) if raised else to
            if found.text(pad) == text:
                owner = to
            elif owner == to:
                found = found.written(pad, text)
            if not raised and pad in active and self.of[pad - 1] != to:
                owner = self.of[pad - 1]
            found = replace(found, of=(*found.of[: pad - 1], owner, *found.of[pad:]))
        return found
