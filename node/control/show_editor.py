"""Edits of the running show: at once in memory, and then in its file.

edit ── apply to the show's data ── check ── desk.adopt ──┬─ pads, cues, maps and keys play on with the edit
                                                           └─ a thread: EditProcess ── the file, whole or not at all

What cannot be written (a full disk, a file that is gone) stays in memory and is tried again every few seconds; what is
still not written at the end goes into a copy.
"""

from __future__ import annotations

import contextlib
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError
from worldjockey.integrations import ControlEvent
from worldjockey.integrations.surface.file_names import is_device

from ..ipc.status import error_text
from ..parameters import PADS, PARAMETERS, find, number_text
from ..show import media
from ..show.banks import WEIGHTS
from ..show.edit import Edit, apply, control, plain
from ..show.edit_process import EditProcess, applied, rewritten
from ..show.fields import known_parameter, plainly
from ..show.keys import DEFAULT_KEYS, check_keys, key_name, table
from ..show.media import Media
from ..show.midi_mapping import learned, learned_line
from ..show.pads import short_pad
from ..show.schema import EMBEDDED, Show
from ..show.yaml_file import ShowError, read, write
from .desk import Desk
from .maps import Map, map_rows
from .snapshot_file import in_snapshots

NOT_IN_CUES = ("prompt", "bank", "pad/", "tempo", "learn", "preview/", "sound/", "keystone/", "transition", "quantise")
NAME = re.compile(r"[^\x00-\x1f/\\:*?\"<>|.][^\x00-\x1f/\\:*?\"<>|]{0,99}")  # of a file, on every system
STOP_TIMEOUT_S = 10.0  # for the last edits to be written
RETRY_DELAYS_S = (2.0, 4.0, 8.0, 15.0, 30.0)  # after the first, second, ... attempt in a row that left edits unsaved
FAVOURITES_MAX = 200  # that a page can add
SAVING_TIMEOUT_S = 10.0  # for which a page waits while the edits before its own are written
CHANGED = "was changed or deleted by another page: open it again"
MAP_IDENTITY = ("kind", "text", "to")  # by which a page names a map that may have another index by now
TIMING = ("seconds", "transition", "curve", "quantise", "follow", "at")
logger = logging.getLogger(__name__)


class Registry(Protocol):
    def register(self, do: str, handler: Callable[..., Any]) -> None: ...


class ShowEditor:
    """Edits the show of a desk. All methods may be called from any thread but the control loop's: they wait for the
    desk's lock, some for a disk.

    file: of the show; None for the embedded one. folder: where its paths start, and new show files are written.
    on_changed: called after each edit and each save; must not wait. on_prompts: called with the media of all pads by
    their prompt, and with prompts to encode ahead. on_maps: called with the show after its maps or keys changed.
    remote: the world is on another machine, which has the files that the show began with.
    """

    def __init__(self, desk: Desk, file: Path | None = None, folder: Path = Path(), remote: bool = False) -> None:
        self.file, self.folder, self._remote = file, folder, remote
        self.error = ""
        self.changes = 0
        self.on_changed: Callable[[], None] = lambda: None
        self.on_prompts: Callable[[Mapping[str, Media], Sequence[str]], None] = lambda files, prompts: None
        self.on_maps: Callable[[Show], None] = lambda show: None
        self._desk, self._show = desk, desk.show
        self._lock = threading.RLock()  # for the show's data, and for what waits to be written
        self._pending: list[Edit] = []
        self._process = EditProcess()
        self._saving = threading.Lock()
        self._wake, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write_edits, name="show file", daemon=True)
        self._known_media = set(map(_key, desk.show.media(folder).values()))

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, as far as that is possible, and end. What cannot be written stays for `keep_copy`."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(STOP_TIMEOUT_S)
        self._process.stop()

    def keep_copy(self, cache: Path) -> str:
        """After `stop`: write a show with edits that are in no file beside its file, or where that is not possible
        into the folder `cache`. Returns a line for the terminal; empty where nothing is unsaved."""
        with self._lock:
            pending, file = list(self._pending), self.file
        if not pending:
            return ""
        why = self.error.removeprefix("not saved: ") or (
            "the embedded show has no file" if file is None else "the machine was too busy"
        )
        text, reason = self._with_edits(pending), ""
        stem = (file.stem if file is not None else "wj") + time.strftime("-unsaved-%Y%m%d-%H%M%S")
        for folder in [*([file.parent] if file is not None else []), cache]:
            try:
                if folder == cache:  # that of the file may be the place of a disk that is gone
                    folder.mkdir(parents=True, exist_ok=True)
                copy = _free(folder, stem)
                write(copy, text)
            except OSError as error:
                reason = f"{folder}: {error_text(error)}"
                logger.warning("no copy of the show in %s: %s", folder, error)
            else:
                return f"edits of the show were not saved ({why}): the show with these edits is in {copy}"
        return f"edits of the show were not saved ({why}), and there is no place for a copy ({reason}): they are lost"

    def _with_edits(self, pending: Sequence[Edit]) -> str:
        """The file's text with the edits; without its comments where it has no place for them or cannot be read."""
        try:
            source = self.file or EMBEDDED
            text = read(source)
            after, _, refused = applied(text, pending, str(source))
            if refused:
                after, _, refused = rewritten(text, pending, str(source))
            if not refused:
                return after
        except (OSError, ValueError, RecursionError):
            logger.info("the copy of the show begins with what is played", exc_info=True)
        return self._show.dump()

    def status(self) -> Mapping[str, Any]:
        return {"file": "" if self.file is None else str(self.file), "unsaved": self.unsaved, "error": self.error}

    @property
    def unsaved(self) -> bool:
        """Whether there are edits that are in no file."""
        return bool(self._pending)

    @property
    def keys(self) -> dict[str, str]:
        """What each key does, by its name."""
        return table(self._show.keys)

    @property
    def maps(self) -> list[Map]:
        """The show's maps of controls, and below them the defaults, which are locked."""
        return map_rows(self._show)

    def parts(self) -> dict[str, Callable[[], Any]]:
        """What the surface lists of the show besides its pads and cues, by field."""
        return {
            "file": lambda: "" if self.file is None else str(self.file),
            "unsaved": lambda: self.unsaved, "error": lambda: self.error, "keys": lambda: self.keys,
            "favourites": lambda: list(self._show.favourites),
            "maps": lambda: [row.as_dict() for row in self.maps],
        }  # fmt: skip

    def learning(self) -> dict[str, Any] | None:
        """The parameter that waits for a control, for the surface's status."""
        target = self._desk.values["learn"]
        return {"to": target, "kind": None} if target else None

    def register(self, requests: Registry) -> None:
        """Register the requests of the surface that edit the show."""
        handlers: dict[str, Callable[..., Any]] = {
            "show/save": self.save, "pad/edit": self.edit_pad, "pad/copy": self.copy_pad, "pad/move": self.move_pad,
            "cue/store": self.store_cue, "cue/edit": self.edit_cue, "cue/move": self.move_cue,
            "cue/stamp": self.stamp_cue, "cue/delete": self.delete_cue,
            "map/learn": self.learn, "map/cancel": self.cancel_learning, "map/edit": self.edit_map,
            "map/remove": self.remove_map,
            "key/set": self.set_key, "key/remove": self.remove_key, "favourite/add": self.add_favourite,
            "favourite/remove": self.remove_favourite,
        }  # fmt: skip
        for do, handler in handlers.items():
            requests.register(do, handler)

    # -- edits -------------------------------------------------------------------------------------------------------

    def edit(self, edit: Edit) -> None:
        """Carry out an edit (show/edit.py) on the running show, and have it written. ValueError, with the reason, for
        one that is not possible; then nothing changes."""
        with self._lock:
            if self._stop.is_set():
                raise ValueError("the show has ended: nothing can be edited any more")
            edited, order = checked(self._show, edit)
            if str(edit["do"]).startswith(("pad/", "cue/")):  # before a pad asks the world for them
                known = {*self._show.ahead(), *(pad.prompt for pad in self._show.pads)}
                prompts = (*edited.ahead(), *(pad.prompt for pad in edited.pads))
                self.on_prompts(edited.media(self.folder), [text for text in prompts if text and text not in known])
            self._desk.adopt(edited, order)
            self._pending.append(edit)
            self.changes += 1
        if str(edit["do"]).startswith(("map/", "key/")):
            self.on_maps(self._show)
        self._wake.set()
        self.on_changed()

    def edit_pad(self, bank: int | str, pad: int, **fields: str | None) -> None:
        """fields: label, text, image, sound, video; files are paths within the show's folder."""
        files = Media(*(plain(fields.get(kind)) or None for kind in ("image", "sound", "video")))
        self._check_files(files)
        self.edit({"do": "pad/edit", "bank": self._bank(bank), "pad": _pad(pad), "fields": fields})

    def copy_pad(self, bank: int | str, pad: int, to_bank: int | str, to_pad: int) -> None:
        self.edit({"do": "pad/copy", "bank": self._bank(bank), "pad": _pad(pad), "to_bank": self._bank(to_bank),
                   "to_pad": _pad(to_pad)})  # fmt: skip

    def move_pad(self, bank: int | str, pad: int, to_bank: int | str, to_pad: int) -> None:
        """The two pads change places."""
        self.edit({"do": "pad/move", "bank": self._bank(bank), "pad": _pad(pad), "to_bank": self._bank(to_bank),
                   "to_pad": _pad(to_pad)})  # fmt: skip

    def store_cue(self, name: str = "", seconds: float | None = None, index: int | None = None) -> dict[str, Any]:
        """Keep the present state as a cue; one of that name is replaced, and keeps its timing. Returns its index."""
        name = plain(_text(name, "the name of a cue")) or self._free_name()
        cue = {"name": name, **self._captured()}
        before = next((one for one in self._show.cues if one.name.lower() == name.lower()), None)
        if before is not None:
            timing = cue_data(before)
            cue |= {"name": before.name, **{field: timing[field] for field in TIMING if field in timing}}
        if seconds is not None:
            cue.pop("transition", None)
            cue["seconds"] = float(seconds)
        self.edit({"do": "cue/put", "cue": cue, "index": None if index is None else int(index)})
        found = next(n for n, one in enumerate(self._show.cues) if one.name.lower() == name.lower())
        self._desk.set_cue(found)
        return {"index": found, "name": self._show.cues[found].name}

    def edit_cue(self, index: int, fields: Mapping[str, Any], was: str | None = None) -> None:
        """fields: of a cue in a show file; None goes back to the default. was: the name of the cue that is meant, as it
        was when the page listed it: another page may have moved, renamed or deleted it since then."""
        with self._lock:
            self.edit({"do": "cue/edit", "name": self._cue_name(index, was), "fields": dict(fields)})

    def stamp_cue(self, index: int, was: str | None = None) -> dict[str, Any]:
        """Make the present timecode the time of a cue. was: as for `edit_cue`. Returns the time."""
        if self._desk.timecode is None:
            raise ValueError("this show follows no timecode: add `timecode:` to its file")
        at = self._desk.timecode.stamp(time.monotonic())
        self.edit_cue(index, {"at": at}, was)
        return {"at": at}

    def move_cue(self, index: int, to: int, was: str | None = None) -> None:
        """was: as for `edit_cue`."""
        with self._lock:
            self.edit({"do": "cue/move", "name": self._cue_name(index, was), "to": int(to)})

    def delete_cue(self, index: int, was: str | None = None) -> None:
        """was: as for `edit_cue`."""
        with self._lock:
            self.edit({"do": "cue/delete", "name": self._cue_name(index, was)})

    def put_map(self, kind: str, mapping: Mapping[str, Any]) -> None:
        """Map a control, in place of what the show has mapped it to. kind: midi, osc or gamepad."""
        self.edit({"do": "map/put", "kind": kind, "mapping": dict(mapping)})

    def learn(self, to: str) -> None:
        """Map the next control that is moved: of MIDI, of a gamepad, or an OSC address of another program."""
        target = known_parameter(_text(to, "the name of a parameter")).name
        if known_parameter(target).kind == "text":
            raise ValueError(f"{target} is a text: write a line with `value: ...` into the show, or map a cue")
        self._desk.deliver(ControlEvent("learn", (target,), time.monotonic(), "surface"))

    def cancel_learning(self) -> None:
        self._desk.deliver(ControlEvent("learn", ("",), time.monotonic(), "surface"))

    def learned(self, kind: str, target: str, source: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a map that was learned. Returns the fields of MIDI's `Rule`; the rules of others come by `on_maps`.
        ValueError, with the reason, for an impossible one."""
        if kind != "midi":
            self.put_map(kind, {**source, "to": self._chosen(target) if "button" in source else target})
            return {}
        rule = learned(target, source).rule(self._show.midi.takeover)
        self.put_map(kind, learned_line(target, source))
        return rule

    def learn_key(self, key: str, to: str) -> None:
        """Let a key that was pressed play the parameter that waited for a control. ValueError where it cannot."""
        self.set_key(key, to)
        self.cancel_learning()

    def edit_map(self, index: int, fields: Mapping[str, Any], was: Mapping[str, Any] | None = None) -> None:
        """fields: of a mapping in a show file; None goes back to the default. was: "kind", "text" and "to" of the map
        that is meant, as they were when the page listed it."""
        row = self._map(index, was)
        if row.locked:
            raise ValueError(f"{row.text} is a default: map it anew to change it")
        if row.kind == "key":
            self.set_key(row.source["key"], str(fields.get("to", row.to)))
        else:
            self.edit({"do": "map/edit", "kind": row.kind, "mapping": row.line, "fields": dict(fields)})

    def remove_map(self, index: int, was: Mapping[str, Any] | None = None) -> None:
        """Remove a map of the show's own; what the control does by default it does again. A default is switched
        off. was: as for `edit_map`."""
        row = self._map(index, was)
        if row.kind == "key":
            self.remove_key(row.source["key"])
        elif row.locked and row.kind != "osc":
            self.put_map(row.kind, {**control(row.kind, row.line), "to": None})
        else:
            self.edit({"do": "map/remove", "kind": row.kind, "mapping": row.line})

    def set_key(self, key: str, to: str) -> None:
        """to: what the key plays, as in "cam/yaw -1". Where only the name of a parameter with choices stands there, the
        key chooses what is chosen now."""
        name, to = key_name(_text(key, "a key")), self._chosen(_text(to, "what a key plays"))
        check_keys({name: to})
        if self._show.keys.get(name) is None and DEFAULT_KEYS.get(name) == to:
            self.edit({"do": "key/remove", "key": name})
        else:
            self.edit({"do": "key/set", "key": name, "to": str(to).strip()})

    def remove_key(self, key: str) -> None:
        """The key does nothing any more."""
        name = key_name(key)
        if name in DEFAULT_KEYS:
            self.edit({"do": "key/set", "key": name, "to": None})
        else:
            self.edit({"do": "key/remove", "key": name})

    def add_favourite(self, text: str) -> None:
        if not plain(_text(text, "a favourite")):
            raise ValueError("a favourite is a prompt: write one")
        if len(self._show.favourites) >= FAVOURITES_MAX:
            raise ValueError(f"there are {FAVOURITES_MAX} favourites, which is the most: remove one")
        self.edit({"do": "favourite/add", "text": text})

    def remove_favourite(self, text: str) -> None:
        self.edit({"do": "favourite/remove", "text": str(text)})

    def _chosen(self, to: str) -> str:
        """What a button plays, with the present choice behind the name of a parameter that has choices."""
        p = find(str(to).strip())
        return f"{p.name} {self._desk.read(p.name)}" if p is not None and p.kind == "enum" else to

    # -- what edits name ---------------------------------------------------------------------------------------------

    def _bank(self, bank: int | str) -> str:
        """The name of a bank, by number from 1 or by name. ValueError where there is none."""
        names = self._show.prompts().names
        if isinstance(bank, int | float) and not isinstance(bank, bool):
            if number_text(bank) in names:
                return number_text(bank)
            if bank == int(bank) and 1 <= bank <= len(names):
                return names[int(bank) - 1]
            raise ValueError(f"there is no bank {bank}: the show has {', '.join(names)}")
        return names[self._show.prompts().index(bank)]

    def _cue_name(self, index: int, was: str | None = None) -> str:
        cues = self._show.cues
        if was is not None:
            if not any(cue.name == was for cue in cues):  # two cues never have the same name
                raise ValueError(f"this cue {CHANGED}")
            return was
        if not isinstance(index, int) or not 0 <= index < len(cues):
            raise ValueError(f"there is no cue {index}: the show has {len(cues)}")
        return cues[index].name

    def _map(self, index: int, was: Mapping[str, Any] | None = None) -> Map:
        rows = self.maps
        if was is not None:
            wanted = {name: was.get(name) for name in MAP_IDENTITY} if isinstance(was, Mapping) else {}
            same = [n for n, row in enumerate(rows) if {name: getattr(row, name) for name in MAP_IDENTITY} == wanted]
            if not same:
                raise ValueError(f"this map {CHANGED}")
            return rows[index if index in same else same[0]]
        if not isinstance(index, int) or not 0 <= index < len(rows):
            raise ValueError(f"there is no map {index}: there are {len(rows)}")
        return rows[index]

    def _free_name(self) -> str:
        taken = {cue.name.lower() for cue in self._show.cues}
        return next(name for n in range(1, len(taken) + 2) if (name := f"cue {n}") not in taken)

    def _check_files(self, files: Media) -> None:
        """ValueError, with the fix, for a file that is none, that cannot be read, or that lies outside the show's
        folder."""
        if not files.paths:
            return
        if self._remote:
            raise ValueError("a world on another machine gets new files when the show starts: write them into the file")
        root = self.folder.resolve()
        for path in files.paths:
            found = (root / path).resolve()
            if not found.is_relative_to(root) and path not in {p for known in self._known_media for p in known}:
                raise ValueError(f"{path} is outside the show's folder: copy it to {root}")
            if not found.is_file():
                raise ValueError(f"{path}: there is no such file in {root}")
        there = Media(*(str(root / path) if path else None for path in (files.image, files.sound, files.video)))
        if _key(there) not in self._known_media:
            media.check([there])
            self._known_media.add(_key(there))

    # -- the present state as a cue ----------------------------------------------------------------------------------

    def _captured(self) -> dict[str, Any]:
        """The prompt, the bank, the pads and the values that a cue needs to bring the present state back."""
        show, state = self._show, self._desk.state()
        values, words, banks = state["values"], state["words"], state["banks"]
        labels = [pad.label for pad in list(show.banks.values() or [show.pads])[banks["now"]]]
        pads: dict[int | str, float] = {}
        for name, n in WEIGHTS.items():
            if values[name] > 0 and banks["of"][n - 1] == banks["now"]:
                label = labels[n - 1] if n <= len(labels) else ""
                pads[label if label and labels.count(label) == 1 else n] = _rounded(values[name])
        initial, mentioned = show.initial(), {name for cue in show.cues for name in cue.values}
        kept = {
            name: _rounded(value)
            for name, value in values.items()
            if _in_cues(name) and (value != initial.get(name) or name in mentioned)
        }
        kept |= {name: 1.0 for name in mentioned if name.startswith("word/")}
        kept |= {name: _rounded(weight) for name, weight in words.items()}
        captured: dict[str, Any] = {"prompt": values["prompt"]}
        if show.banks:
            captured["bank"] = banks["names"][banks["now"]]
        return captured | {"pads": pads, **({"values": kept} if kept else {})}

    # -- the file ----------------------------------------------------------------------------------------------------

    def save(self, name: str | None = None, overwrite: bool = False) -> dict[str, Any]:
        """Write what is not written yet, with `name` into a new file of the show's folder, which is then the show's.

        overwrite: replace a file of that name. Returns {"file"}. Raises ValueError or OSError, with the fix, where that
        fails; the edits are kept.
        """
        if name is None:
            if self.file is None:
                raise ValueError("the embedded show has no file yet: save it under a name")
            self._save_pending(SAVING_TIMEOUT_S)
            if self.error:
                raise OSError(self.error)
            return {"file": str(self.file)}
        path = self.folder / f"{_file_name(name)}.yaml"
        if self.file is not None and path.resolve() == self.file.resolve():
            return self.save()
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise ValueError(f"{path.name} is a link to a file outside the show's folder: choose another name")
        with self._saving_alone(SAVING_TIMEOUT_S):
            with self._lock:
                pending = list(self._pending)
            base = read(EMBEDDED) if self.file is None else None if self.file.exists() else self._show.dump()
            try:
                done = self._process.save(path, pending, base, bool(overwrite), self.file)
            except OSError as error:
                raise OSError(str(error)) from None
            self._written(pending, done, path)
        return {"file": str(path)}

    def _write_edits(self) -> None:
        if self.file is not None:
            self._process.open()
        failures = 0
        while not self._stop.is_set():
            delay = RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S)) - 1] if failures else None
            edited = self._wake.wait(delay)
            self._wake.clear()
            self._save_pending()
            unsaved = self.unsaved and self.file is not None
            failures = 0 if not unsaved else 1 if edited else failures + 1
        self._save_pending()

    @contextlib.contextmanager
    def _saving_alone(self, timeout_s: float = -1) -> Iterator[None]:
        """Wait until nobody else saves. OSError where that takes longer; -1 waits for any time."""
        if not self._saving.acquire(timeout=timeout_s):
            raise OSError("the edits before are still being saved, since the machine is busy: try again in a moment")
        try:
            yield
        finally:
            self._saving.release()

    def _save_pending(self, timeout_s: float = -1) -> None:
        """Write all edits that are not in the file yet. What fails is in `error`, and tried again later."""
        with self._saving_alone(timeout_s):
            with self._lock:
                pending, file = list(self._pending), self.file
            if file is None or not pending:
                return
            try:
                self._written(pending, self._process.save(file, pending), file)
            except Exception as error:
                before, self.error = self.error, f"not saved: {error_text(error)}"
                if self.error != before:  # it is tried again and again
                    unknown = not isinstance(error, OSError | ShowError)
                    logger.warning("the show was not saved: %s", error, exc_info=unknown)
                    self.on_changed()

    def _written(self, pending: Sequence[Edit], done: Mapping[str, Any], file: Path) -> None:
        refused: Mapping[int, str] = done["refused"]
        with self._lock:
            self._pending = [*(edit for n, edit in enumerate(pending) if n in refused and _may_fit(refused[n])),
                             *self._pending[len(pending) :]]  # fmt: skip
            self.file = file
            self.error = f"not saved: {next(iter(refused.values()))}" if refused else ""
        self.on_changed()


def _may_fit(reason: str) -> bool:
    """Whether an edit that a file refused is tried again: what is gone from it will not come back."""
    return "any more" not in reason and "no longer" not in reason


def data_of(show: Show) -> dict[str, Any]:
    """The parts of a show that can be edited, as its file has them."""
    data: dict[str, Any] = {
        "cues": [cue_data(cue) for cue in show.cues], "keys": dict(show.keys), "favourites": list(show.favourites),
        "midi": {"map": [_unset(line) for line in show.midi.map]},
        "osc": {"map": [_unset(line) for line in show.osc.map]},
        "gamepad": {"map": [_unset(line) for line in show.gamepad.map]},
    }  # fmt: skip
    if show.banks:
        data["banks"] = {name: [short_pad(pad) for pad in bank] for name, bank in show.banks.items()}
    elif show.pads:
        data["pads"] = [short_pad(pad) for pad in show.pads]
    if show.obs is not None:
        data["obs"] = show.obs.model_dump(mode="python", exclude_defaults=True)
    if show.crowd is not None:
        data["crowd"] = show.crowd.model_dump(mode="python", exclude_defaults=True)
    return data


def cue_data(cue: Any) -> dict[str, Any]:
    found: dict[str, Any] = cue.model_dump(mode="python", exclude_defaults=True)
    return {"name": cue.name, **{name: value for name, value in found.items() if name != "name"}}


def _unset(line: Any) -> dict[str, Any]:
    found: dict[str, Any] = line.model_dump(mode="python", exclude_defaults=True)
    return {**found, "to": line.to}


def checked(show: Show, edit: Edit) -> tuple[Show, list[int | None]]:
    """The show with an edit, and the new index of each of its cues, None for one that is gone. ValueError, with the
    reason, for an edit that is not possible. The show given stays as it is."""
    data = data_of(show)
    renamed = {}
    if edit["do"] == "cue/edit" and (name := edit["fields"].get("name")) is not None:
        renamed = {str(edit["name"]).lower(): plain(_plain_name(name)).lower()}
    apply(data, edit)
    try:
        parts = Show.model_validate({**data, "outputs": [], "values": _bank_only(show), "timecode": show.timecode})
    except ValidationError as error:
        raise ValueError(_first(error)) from None
    new = show.model_copy()
    for field in ("pads", "banks", "cues", "keys", "favourites", "obs", "crowd"):
        new.__dict__[field] = getattr(parts, field)
    for field in ("midi", "osc", "gamepad"):
        new.__dict__[field] = getattr(show, field).model_copy(update={"map": getattr(parts, field).map})
    names = [cue.name.lower() for cue in new.cues]
    found = [renamed.get(cue.name.lower(), cue.name.lower()) for cue in show.cues]
    return new, [names.index(name) if name in names else None for name in found]


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what} is a text, not {str(value)[:80]}")
    return value


def _plain_name(name: Any) -> str:
    return number_text(name) if isinstance(name, int | float) else str(name)


def _bank_only(show: Show) -> dict[str, Any]:
    return {"bank": show.values["bank"]} if "bank" in show.values else {}


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False)[0]
    loc: tuple[Any, ...] = detail["loc"]
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "errors":
        below, message = detail["ctx"]["errors"][0]
        loc = (*loc, *below)
    elif detail["type"] != "value_error":
        message = plainly(detail)
    if detail["type"] == "extra_forbidden":
        message = f"there is no {str(loc[-1])[:60]!r} here"
    where = next(
        (str(part) for part in reversed(loc) if isinstance(part, str) and part not in ("map", "int", "str")), ""
    )
    return message if where in ("", "cues", "pads", "keys") or where in message else f"{where}: {message}"


def _in_cues(name: str) -> bool:
    p = PARAMETERS.get(name)
    if p is None or name.startswith(NOT_IN_CUES):
        return name == "prompt/b"
    return p.kind != "trigger" and (in_snapshots(name) or name.startswith("mod/"))


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value


def _pad(pad: Any) -> int:
    if not isinstance(pad, int) or not 1 <= pad <= PADS:
        raise ValueError(f"there is no pad {pad}: use 1 to {PADS}")
    return pad


def _file_name(name: Any) -> str:
    """A plain file name, the same on every system."""
    text = str(name).strip().removesuffix(".yaml").removesuffix(".yml").strip()
    if not NAME.fullmatch(text):
        raise ValueError(f"{str(name)[:80]!r} is no file name: use letters, numbers, spaces, - and _")
    if is_device(text):
        raise ValueError(f"{text[:80]!r} is the name of a device on Windows, and so no file name: choose another")
    return text


def _free(folder: Path, stem: str) -> Path:
    """The path of a show file that does not exist yet."""
    names = (f"{stem}.yaml", *(f"{stem}-{n}.yaml" for n in range(2, 100)))
    return next((path for name in names if not (path := folder / name).exists()), folder / names[-1])


def _key(files: Media) -> tuple[str, ...]:
    return tuple(path or "" for path in (files.image, files.sound, files.video))
