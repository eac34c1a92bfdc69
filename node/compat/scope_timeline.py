"""Converts Daydream Scope's timelines: the JSON of a timeline or workflow becomes the cues of a show file.

Each block of the timeline becomes a cue with its prompt; prompts that a block blends are put on pads. A comment above
each cue has the start and end of its block.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, Field, ValidationError, model_validator

from ..ipc.status import plain_text
from ..parameters import PADS, PARAMETERS, TEXT_BYTES
from ..show.schema import Show
from ..show.yaml_file import ShowError, dumped
from .osc_aliases import SCOPE_STEP_S

TIMELINE_BYTES_MAX = 4_000_000
NAME_CHARS = 40  # of the prompt in a cue's name
Seconds = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Prompt(BaseModel):
    text: Annotated[str, Field(max_length=TEXT_BYTES)]
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0


class Block(BaseModel):
    """Weighted prompts from `start` to `end`. steps: length of the transition to them, in Scope's steps."""

    start: Seconds = Field(validation_alias=AliasChoices("startTime", "start_time"))
    end: Seconds = Field(validation_alias=AliasChoices("endTime", "end_time"))
    prompts: list[Prompt] = []
    text: str = ""
    steps: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        default=None, validation_alias=AliasChoices("transitionSteps", "transition_steps")
    )

    @model_validator(mode="after")
    def _fits(self) -> Block:
        if not self.prompts and self.text:
            self.prompts = [Prompt(text=self.text)]
        if self.end < self.start:
            raise ValueError(f"ends at {self.end:g} s, before it starts at {self.start:g} s")
        if not self.prompts:
            raise ValueError("has no prompt")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Weights by text, summing to 1, without those of 0."""
        found: dict[str, float] = {}
        for prompt in self.prompts:
            found[prompt.text] = found.get(prompt.text, 0.0) + prompt.weight
        total = sum(found.values())
        return {text: w / total for text, w in found.items() if w > 0} if total else dict.fromkeys(list(found)[:1], 1.0)


def blocks(text: str | bytes, source: str) -> tuple[list[Block], dict[str, Any], list[str]]:
    """A timeline's blocks in order, its settings, and what is wrong with the blocks that were left out.

    A workflow without a timeline is one block of its prompts. Raises ShowError, with the position, where no block is
    left.
    """
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise ShowError(f"{source}:{error.lineno}: this is not JSON: {error.msg}") from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise ShowError(f"{source}: this is not JSON") from None
    if not isinstance(data, dict):
        raise ShowError(f"{source}: this is not a timeline: Scope's has `prompts`, or `timeline` with `entries`")
    workflow = data.get("timeline")
    rows = workflow.get("entries") if isinstance(workflow, dict) else data.get("prompts")
    if isinstance(rows, list) and workflow is None and not any(_has_start(row) for row in rows):
        rows = [{"startTime": 0, "endTime": 0, "prompts": rows}] if rows else []
    if not isinstance(rows, list) or not rows:
        raise ShowError(f"{source}: it has no timeline: Scope's has `prompts`, or `timeline` with `entries`")
    found, errors = [], []
    for number, row in enumerate(rows, 1):
        try:
            found.append(Block.model_validate(row))
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in detail["loc"])
            what = detail["msg"].removeprefix("Value error, ")
            errors.append(f"{source}: block {number}: {f'{where}: ' if where else ''}{what[0].lower()}{what[1:]}")
    if not found:
        raise ShowError("\n".join(errors[:10]))
    settings = data.get("settings")
    return sorted(found, key=lambda block: block.start), settings if isinstance(settings, dict) else {}, errors


def _has_start(row: Any) -> bool:
    return isinstance(row, dict) and not {"startTime", "start_time", "endTime", "end_time"}.isdisjoint(row)


def cues(found: list[Block], source: str) -> tuple[list[str], list[dict[str, Any]]]:
    """The texts for pads, and the cues as in a show file. Raises ShowError for more than 16 such texts."""
    blended = list(dict.fromkeys(text for block in found if len(block.weights) > 1 for text in block.weights))
    if len(blended) > PADS:
        raise ShowError(
            f"{source}: it blends {len(blended)} prompts, but a show has only {PADS} pads: split the timeline in two"
        )
    made = []
    for number, block in enumerate(found, 1):
        weights = block.weights
        heaviest = max(weights, key=lambda text: weights[text]).strip()
        words = " ".join(heaviest.split())
        words = words[:NAME_CHARS].rpartition(" ")[0] or words[:NAME_CHARS] if len(words) > NAME_CHARS else words
        cue: dict[str, Any] = {"name": f"{number} {words}".strip()}
        if len(weights) == 1:
            cue["prompt"] = heaviest
        if blended:  # pads that a cue leaves out go down
            cue["pads"] = {blended.index(t) + 1: round(w, 4) for t, w in weights.items()} if len(weights) > 1 else {}
        if block.steps:
            cue["seconds"] = min(round(block.steps * SCOPE_STEP_S, 3), 3600.0)
        made.append(cue)
    return blended, made


def to_yaml(text: str | bytes, source: str = "timeline") -> str:
    """A show file for a timeline: `cues`, and `pads` and `values` where needed. Raises ShowError."""
    found, settings, errors = blocks(text, source)
    pads, made = cues(found, source)
    values: dict[str, Any] = {}
    seed, steps = settings.get("seed"), settings.get("denoisingSteps")
    if isinstance(seed, int):
        values["seed"] = PARAMETERS["seed"].coerce(seed)
    if isinstance(steps, list) and steps:
        values["steps"] = PARAMETERS["steps"].coerce(len(steps))
    head = {name: part for name, part in (("pads", pads), ("values", values)) if part}
    lines = [f"# from {Path(source).name}\n", *(f"# left out: {plain_text(error)}\n" for error in errors)]
    lines += [_yaml(head) if head else "", "cues:\n"]
    for block, cue in zip(found, made, strict=True):
        if block.end:
            lines.append(f"  # {block.start:.1f} to {block.end:.1f} s\n")
        lines += [f"  {line}\n" for line in _yaml([cue]).rstrip("\n").split("\n")]
    whole = "".join(lines)
    Show.parse(whole, source)  # checks that the result is valid
    return whole


def _yaml(part: Any) -> str:
    return dumped(part, width=110)


def load(path: Path) -> str:
    """`to_yaml` of a file. Raises ShowError."""
    try:
        with path.open("rb") as file:
            raw = file.read(TIMELINE_BYTES_MAX + 1)
    except OSError as error:
        raise ShowError(f"{path}: cannot be read ({error.strerror})") from None
    if len(raw) > TIMELINE_BYTES_MAX:
        raise ShowError(f"{path} is larger than {TIMELINE_BYTES_MAX // 1_000_000} MB, and so is not a timeline")
    return to_yaml(raw, str(path))
