"""Edits of a show: what each one changes in the data of a show file, and in its text. Pure: text in, text out.

An edit is a dictionary of JSON values, so that it can be kept and sent to another process:

    {"do": "pad/edit", "bank": "night", "pad": 3, "fields": {"text": "rain", "label": None}}
    {"do": "pad/copy" or "pad/move", "bank": "night", "pad": 3, "to_bank": "night", "to_pad": 5}
    {"do": "cue/put", "cue": {"name": ...}, "index": 2 or None}     replaces the cue of that name
    {"do": "cue/edit", "name": "storm", "fields": {...}}            a field of None goes back to its default
    {"do": "cue/move", "name": "storm", "to": 0}      {"do": "cue/delete", "name": "storm"}
    {"do": "map/put", "kind": "midi", "mapping": {...}}             replaces the line of the same control
    {"do": "map/edit", "kind": "osc", "mapping": {...}, "fields": {...}}
    {"do": "map/remove", "kind": "gamepad", "mapping": {...}}
    {"do": "key/set", "key": "q", "to": "pad/9"}      {"do": "key/remove", "key": "q"}
    {"do": "favourite/add", "text": "a calm sea"}     {"do": "favourite/remove", "text": "a calm sea"}

They name cues, banks and controls rather than lines, since another program may have changed the file meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from ..parameters import PADS, PREVIEW, number_text, whole
from .keys import key_name
from .schema import Show
from .yaml_file import ShowError, parse, plain_spaces
from .yaml_patch import LINE_END, patched, same

Edit = Mapping[str, Any]
PAD_FIELDS = ("label", "text", "image", "sound", "video")
CONTROL = {  # the fields that name a control
    "midi": ("note", "cc", "cc14", "nrpn", "pitchbend", "program", "aftertouch", "polytouch", "channel", "device"),
    "osc": ("address",),
    "gamepad": ("button", "axis"),
}
BY_HAND = "the layout of the file has no place for this edit: write it by hand, or save the show under another name"


def edited(text: str, edit: Edit, source: str = "show", *more: Edit) -> str:
    """The text of a show file with an edit, or with several in their order; all else in it stays as it is.

    Raises ValueError for an edit that does not fit the show any more, and ShowError where the result is no valid show
    or the file's layout (anchors, for one) has no place for it.
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    text = plain_spaces(text)
    old, _ = parse(text, source)
    new = unshared(old)
    for each in (edit, *more):
        apply(new, each)
    if same(old, new):
        return mark + text
    reason = ShowError(f"{source}: {BY_HAND}")
    for quoting in (False, True):
        after = patched(text, old, new, quoting)
        try:
            if not same(parse(after, source)[0], new):
                continue
        except ShowError:
            continue
        Show.parse(after, source)
        return mark + after
    raise reason


def unshared(value: Any) -> Any:
    """A copy in which each part stands alone, also where anchors made one of two."""
    if isinstance(value, Mapping):
        return {name: unshared(item) for name, item in value.items()}
    return [unshared(item) for item in value] if isinstance(value, list) else value


def plain(value: Any) -> Any:
    """The value as a show file would give it back: without characters that it cannot hold."""
    if isinstance(value, str):
        value = LINE_END.sub("\n", yaml.reader.Reader.NON_PRINTABLE.sub("", whole(value)))
        return value if value == " " else plain_spaces(value).strip()
    if isinstance(value, Mapping):
        return {plain(name): plain(item) for name, item in value.items()}
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def apply(data: dict[str, Any], edit: Edit) -> None:
    """Carry out an edit on the data of a show file. ValueError, with the reason, where it does not fit."""
    fields = {name: value for name, value in plain(edit).items() if name != "do"}
    there = {kind for kind in CONTROL if data.get(kind) is not None}
    EDITS[edit["do"]](data, **fields)
    for kind in CONTROL.keys() - there:
        if data.get(kind) in ({}, {"map": []}):
            del data[kind]


# -- pads --------------------------------------------------------------------------------------------------------------


def _bank_names(data: Mapping[str, Any]) -> list[str]:
    banks = data.get("banks")
    return [_name(name) for name in banks] if isinstance(banks, Mapping) and banks else ["1"]


def _name(name: Any) -> str:
    return number_text(name) if isinstance(name, int | float) and not isinstance(name, bool) else str(name).strip()


def _pads(data: dict[str, Any], bank: str) -> list[Any]:
    """The list of a bank's pads. ValueError for a bank that does not exist."""
    banks = data.get("banks")
    if isinstance(banks, dict) and banks:
        for name in banks:
            if _name(name).lower() == bank.lower():
                if not isinstance(banks[name], list):
                    banks[name] = []
                pads: list[Any] = banks[name]
                return pads
    elif bank == "1":
        if not isinstance(data.get("pads"), list):
            data["pads"] = []
        pads = data["pads"]
        return pads
    raise ValueError(f"there is no bank {bank!r}: the show has {', '.join(_bank_names(data))}")


def pad_at(pads: list[Any], pad: int) -> dict[str, Any]:
    """The fields of pad 1..16 that have a value."""
    value = pads[pad - 1] if pad <= len(pads) else None
    fields = dict(value) if isinstance(value, Mapping) else {} if value is None else {"text": value}
    return {name: str(item) for name, item in fields.items() if item not in (None, "")}


def _put_pad(pads: list[Any], pad: int, value: Any) -> None:
    if not 1 <= pad <= PADS:
        raise ValueError(f"there is no pad {pad}: use 1 to {PADS}")
    if pad > len(pads) and value in (None, "", {}):
        return
    pads.extend([""] * (pad - len(pads)))
    pads[pad - 1] = value


def _edit_pad(data: dict[str, Any], bank: str, pad: int, fields: Mapping[str, Any]) -> None:
    if unknown := [name for name in fields if name not in PAD_FIELDS]:
        raise ValueError(f"a pad has no {unknown[0]!r}: it has {', '.join(PAD_FIELDS)}")
    pads = _pads(data, bank)
    before = pad_at(pads, pad)
    after = {name: value for name in PAD_FIELDS if (value := {**before, **fields}.get(name)) not in (None, "")}
    if after == before:
        return
    long = pad <= len(pads) and isinstance(pads[pad - 1], Mapping)
    _put_pad(pads, pad, after if after and (long or after.keys() != {"text"}) else after.get("text", ""))
    if (label := before.get("label")) and label != after.get("label"):
        _rename_in_cues(data, bank, {label.lower(): after.get("label") or pad})


def _copy_pad(data: dict[str, Any], bank: str, pad: int, to_bank: str, to_pad: int) -> None:
    pads, there = _pads(data, bank), _pads(data, to_bank)
    value = unshared(pads[pad - 1]) if pad <= len(pads) else ""
    before = pad_at(there, to_pad).get("label")
    _put_pad(there, to_pad, value)
    if before and before != pad_at(there, to_pad).get("label"):
        _rename_in_cues(data, to_bank, {before.lower(): to_pad})


def _move_pad(data: dict[str, Any], bank: str, pad: int, to_bank: str, to_pad: int) -> None:
    """The two pads change places. Cues that play them by number go with them, in their bank."""
    pads, there = _pads(data, bank), _pads(data, to_bank)
    for number in (pad, to_pad):
        if not 1 <= number <= PADS:
            raise ValueError(f"there is no pad {number}: use 1 to {PADS}")
    one = pads[pad - 1] if pad <= len(pads) else ""
    other = there[to_pad - 1] if to_pad <= len(there) else ""
    _put_pad(there, to_pad, one)
    _put_pad(pads, pad, other)
    if pads is there:
        _rename_in_cues(data, bank, {pad: to_pad, to_pad: pad})
        return
    for where, moved, number in ((bank, one, pad), (to_bank, other, to_pad)):
        if isinstance(moved, Mapping) and moved.get("label"):
            _rename_in_cues(data, where, {str(moved["label"]).lower(): number})


def _rename_in_cues(data: dict[str, Any], bank: str, names: Mapping[int | str, Any]) -> None:
    """Change the names by which the cues play the pads of a bank. names: a number, or a label in lower case."""
    banks = [name.lower() for name in _bank_names(data)]
    labels = {pad_at(_pads(data, bank), n).get("label", "").lower() for n in range(1, PADS + 1)}
    names = {name: to for name, to in names.items() if name not in labels}  # another pad has that label, too
    for cue in _cues(data):
        there = cue.get("bank")
        if isinstance(there, int | float) and not isinstance(there, bool) and _name(there) not in banks:
            there = banks[int(there) - 1] if 1 <= there <= len(banks) else there
        if not isinstance(cue.get("pads"), Mapping) or (banks[0] if there is None else _name(there).lower()) != (
            bank.lower()
        ):
            continue
        pads = {}
        for key, weight in cue["pads"].items():
            is_number = not isinstance(key, str) or key.isdecimal()
            pads[names.get(int(key) if is_number else str(key).lower(), key)] = weight
        if list(pads) != list(cue["pads"]):
            cue["pads"] = pads


# -- cues --------------------------------------------------------------------------------------------------------------


def _cues(data: dict[str, Any]) -> list[Any]:
    cues = data.get("cues")
    return cues if isinstance(cues, list) else []


def _cue(data: dict[str, Any], name: str) -> int:
    """Index of the cue of that name. ValueError where there is none."""
    for index, cue in enumerate(_cues(data)):
        if isinstance(cue, Mapping) and _name(cue.get("name")).lower() == name.lower():
            return index
    raise ValueError(f"there is no cue {name[:80]!r} any more")


def _numbered(cue: Mapping[str, Any]) -> dict[str, Any]:
    """With numbers of pads as numbers: JSON has all keys in quotes."""
    if not isinstance(cue.get("pads"), Mapping):
        return dict(cue)
    return {**cue, "pads": {int(k) if str(k).isdecimal() else k: weight for k, weight in cue["pads"].items()}}


def _put_cue(data: dict[str, Any], cue: Mapping[str, Any], index: int | None = None) -> None:
    if not isinstance(data.get("cues"), list):
        data["cues"] = []
    cues = data["cues"]
    try:
        cues[_cue(data, str(cue["name"]))] = _numbered(cue)
    except ValueError:
        cues.insert(len(cues) if index is None else min(max(index, 0), len(cues)), _numbered(cue))


def _edit_cue(data: dict[str, Any], name: str, fields: Mapping[str, Any]) -> None:
    cue = _cues(data)[_cue(data, name)]
    fields = _numbered(fields)
    if fields.get("name") is not None:
        _rename_in_scenes(data, name, _name(fields["name"]))
        _rename_in_polls(data, name, _name(fields["name"]))
        _rename_where_fired(data, name, _name(fields["name"]))
    if fields.get("transition") is not None:
        fields["seconds"] = None
    elif fields.get("seconds") is not None:
        fields["transition"] = None
    for field, value in fields.items():
        if value is None:
            cue.pop(field, None)
        else:
            cue[field] = value


def _move_cue(data: dict[str, Any], name: str, to: int) -> None:
    cues = _cues(data)
    cue = cues.pop(_cue(data, name))
    cues.insert(min(max(to, 0), len(cues)), cue)


def _delete_cue(data: dict[str, Any], name: str) -> None:
    del _cues(data)[_cue(data, name)]
    _rename_in_scenes(data, name, None)


def _rename_in_scenes(data: dict[str, Any], name: str, to: str | None) -> None:
    """Change the name by which scenes of OBS fire a cue; None lets them fire it no more."""
    obs = data.get("obs")
    scenes = obs.get("scenes") if isinstance(obs, Mapping) else None
    if not isinstance(scenes, dict):
        return
    for scene, does in list(scenes.items()):
        cue = does.get("cue") if isinstance(does, Mapping) else does
        if cue is None or _name(cue).lower() != name.lower():
            continue
        if not isinstance(does, Mapping):
            scenes[scene] = to
        else:
            scenes[scene] = {field: to if field == "cue" else value for field, value in does.items()
                             if field != "cue" or to is not None}  # fmt: skip
        if not scenes[scene]:
            del scenes[scene]


def _rename_in_polls(data: dict[str, Any], name: str, to: str) -> None:
    """Let the options of the audience's polls that are a cue's name go on firing it; what they are called stays."""
    crowd = data.get("crowd")
    polls = crowd.get("polls") if isinstance(crowd, Mapping) else None
    for poll in polls if isinstance(polls, list) else ():
        options = poll.get("options") if isinstance(poll, Mapping) else None
        if not isinstance(options, list):
            continue
        for index, option in enumerate(options):
            label = option.get("label") if isinstance(option, Mapping) else option
            does = option.get("do") if isinstance(option, Mapping) else None
            plain_label = next(iter(label.values()), "") if isinstance(label, Mapping) else label
            if does is None and _name(plain_label).lower() == name.lower():
                options[index] = {"label": label, "do": f"cue/go {to}"}


CUE_TRIGGERS = ("cue/go", "cue/jump", PREVIEW + "cue/jump")
FIRING = ("keys", "gamepad", "streamdeck", "crowd", "story", "events", "midi", "osc", "lights")  # parts that fire cues


def _rename_where_fired(data: dict[str, Any], name: str, to: str) -> None:
    """Let every key, button, map, option, deed and event that fires a cue by its name go on firing it."""
    lines = {f"{trigger} {name}".lower(): f"{trigger} {to}" for trigger in CUE_TRIGGERS}

    def renamed(found: Any) -> Any:
        if isinstance(found, str):
            return lines.get(" ".join(found.lower().split()), found)
        if isinstance(found, list):
            return [renamed(each) for each in found]
        if not isinstance(found, Mapping):
            return found
        fires = {"value"} if found.get("to") in CUE_TRIGGERS else set(CUE_TRIGGERS)
        return {
            key: to if key in fires and _name(value).lower() == name.lower() else renamed(value)
            for key, value in found.items()
        }

    for part in FIRING:
        if part in data:
            data[part] = renamed(data[part])


# -- maps and keys -----------------------------------------------------------------------------------------------------


def control(kind: str, mapping: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a mapping that name its control."""
    return {name: mapping[name] for name in CONTROL[kind] if mapping.get(name) not in (None, False)}


def _maps(data: dict[str, Any], kind: str) -> list[Any]:
    section = data.setdefault(kind, {})
    if section is None:
        section = data[kind] = {}
    if not isinstance(section, dict):
        raise ValueError(f"{kind} is off in this show: remove `{kind}: {section}` to map controls")
    if not isinstance(section.get("map"), list):
        section["map"] = []
    maps: list[Any] = section["map"]
    return maps


def _mapped(data: dict[str, Any], kind: str, mapping: Mapping[str, Any]) -> tuple[list[Any], int | None]:
    """The maps of a kind, and the index of the one of that control. Of several, that with the same target."""
    maps, wanted = _maps(data, kind), control(kind, mapping)
    found = [n for n, line in enumerate(maps) if isinstance(line, Mapping) and control(kind, line) == wanted]
    return maps, next((n for n in found if maps[n].get("to") == mapping.get("to")), next(iter(found), None))


def _put_map(data: dict[str, Any], kind: str, mapping: Mapping[str, Any]) -> None:
    maps, index = _mapped(data, kind, mapping)
    if index is None:
        maps.insert(0, dict(mapping))
    else:
        maps[index] = dict(mapping)


def _edit_map(data: dict[str, Any], kind: str, mapping: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    maps, index = _mapped(data, kind, mapping)
    if index is None:
        raise ValueError("this map is no longer in the file")
    changed = {**maps[index], **fields}
    maps[index] = {name: value for name, value in changed.items() if value is not None or name == "to"}


def _remove_map(data: dict[str, Any], kind: str, mapping: Mapping[str, Any]) -> None:
    maps, index = _mapped(data, kind, mapping)
    if index is None:
        raise ValueError("this map is no longer in the file")
    del maps[index]


def _set_key(data: dict[str, Any], key: str, to: str | None) -> None:
    if not isinstance(data.get("keys"), dict):
        data["keys"] = {}
    keys = data["keys"]
    written = next((name for name in keys if key_name(name) == key_name(key)), key)
    keys[written] = to


def _remove_key(data: dict[str, Any], key: str) -> None:
    keys = data.get("keys")
    if not isinstance(keys, dict):
        return
    for name in list(keys):
        if key_name(name) == key_name(key):
            del keys[name]
    if keys == {}:
        del data["keys"]


# -- favourites --------------------------------------------------------------------------------------------------------


def _add_favourite(data: dict[str, Any], text: str) -> None:
    if not isinstance(data.get("favourites"), list):
        data["favourites"] = []
    if text not in map(str, data["favourites"]):
        data["favourites"].append(text)


def _remove_favourite(data: dict[str, Any], text: str) -> None:
    if isinstance(data.get("favourites"), list):
        data["favourites"] = [other for other in data["favourites"] if str(other) != text]


EDITS: Mapping[str, Callable[..., None]] = {
    "pad/edit": _edit_pad, "pad/copy": _copy_pad, "pad/move": _move_pad,
    "cue/put": _put_cue, "cue/edit": _edit_cue, "cue/move": _move_cue, "cue/delete": _delete_cue,
    "map/put": _put_map, "map/edit": _edit_map, "map/remove": _remove_map,
    "key/set": _set_key, "key/remove": _remove_key,
    "favourite/add": _add_favourite, "favourite/remove": _remove_favourite,
}  # fmt: skip
