"""Banks of pads: which prompts lie under the hands. Pure: a change is another value.

There are sixteen pads, and a bank says what is on them. Switching lays other prompts under the hands and changes
nothing that is seen: a pad that sounds keeps its prompt, and hands, lights and feedback ride that one, until its weight
is 0 (or a cue raises the pad anew); then it says what its bank has. So a key pressed before the switch is let go after
it, a fader stays where it stands, and nothing sounds that no hand can reach. What is written on a pad stays in its
bank.
"""

from __future__ import annotations

import difflib
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..parameters import PADS, PARAMETERS

WEIGHTS = {f"pad/{n}": n for n in range(1, PADS + 1)}
TEXTS = {f"pad/{n}/text": n for n in range(1, PADS + 1)}


@dataclass(frozen=True)
class Banks:
    """names: of the banks. texts: of each, by pad. now: the bank under the hands, from 0. of: whose prompt each pad
    has. Pads are counted from 1.
    """

    names: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    now: int = 0
    of: tuple[int, ...] = (0,) * PADS

    @classmethod
    def revived(cls, state: Mapping[str, Any]) -> Banks:
        """From `dataclasses.asdict`, after JSON."""
        texts = tuple(tuple(map(str, bank)) for bank in state["texts"])
        return cls(tuple(map(str, state["names"])), texts, int(state["now"]), tuple(map(int, state["of"])))

    @property
    def name(self) -> str:
        return self.names[self.now]

    @property
    def values(self) -> dict[str, Any]:
        """The parameters that follow from it: the bank and the texts of its pads."""
        return {"bank": self.now + 1, **{name: self.text(n) for name, n in TEXTS.items()}}

    def text(self, pad: int) -> str:
        return self.texts[self.of[pad - 1]][pad - 1]

    def index(self, key: Any) -> int:
        """Which bank a number from 1 or a name means. A number is clamped. ValueError, naming what there is."""
        names = [name.lower() for name in self.names]
        if isinstance(key, str):
            wanted = key.strip().lower()
            if wanted in names:
                return names.index(wanted)
            if not wanted.isdecimal():
                near = difflib.get_close_matches(wanted, names, 1)
                hint = f", did you mean {near[0]!r}?" if near else f": there is {', '.join(self.names)}"
                raise ValueError(f"there is no bank {key[:80]!r}{hint}")
            key = min(int(wanted), len(names))
        return int(min(PARAMETERS["bank"].coerce(key), len(names))) - 1

    def switched(self, to: int, sounding: Container[int] = ()) -> Banks:
        """Bank `to` under the hands; pads that sound stay as they are."""
        of = tuple(bank if pad in sounding else to for pad, bank in enumerate(self.of, 1))
        return replace(self, now=to, of=of)

    def released(self, pad: int) -> Banks:
        """That pad is silent."""
        return replace(self, of=(*self.of[: pad - 1], self.now, *self.of[pad:]))

    def written(self, pad: int, text: str) -> Banks:
        """Another text on a pad of the bank under the hands, which it has from now on."""
        if self.text(pad) == text:
            return self
        bank = self.texts[self.now]
        bank = (*bank[: pad - 1], text, *bank[pad:])
        texts = (*self.texts[: self.now], bank, *self.texts[self.now + 1 :])
        return replace(self.released(pad), texts=texts)

    def recalled(self, values: Mapping[str, Any], sounding: Container[int] = ()) -> Banks:
        """So that they say what `values` say. A pad that sounds and is to be silent keeps its prompt until it is."""
        to = self.index(values.get("bank", 1))
        found = self.switched(to)
        for name, pad in TEXTS.items():
            text, heard = values.get(name, ""), bool(values.get(f"pad/{pad}"))
            owner = next((k for k, bank in enumerate(self.texts) if bank[pad - 1] == text), to) if heard else to
            if found.text(pad) == text:
                owner = to
            elif owner == to:
                found = found.written(pad, text)
            if not heard and pad in sounding and self.of[pad - 1] != to:
                owner = self.of[pad - 1]
            found = replace(found, of=(*found.of[: pad - 1], owner, *found.of[pad:]))
        return found
