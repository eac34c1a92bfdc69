"""The parameter table as an OSCQuery address space: JSON objects with live values. Pure: no sockets.

Follows the OSCQuery proposal (Vidvox). A node that has a value and nodes below it, as /wj/pad/1 has /wj/pad/1/text,
appears twice: with its value in place, and as the leaf /wj/pad/1/value, because programs that show groups (Chataigne)
do not show the value of a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

PREFIX = "/wj/"
VALUE = "value"  # the leaf that stands for a group's own value
TYPES = {"float": "f", "int": "i", "bool": "T", "trigger": "I", "enum": "s", "text": "s"}
UNITS = {"s": "time.second"}
NOTHING, READ, WRITE = 0, 1, 2
STATUS = (  # read-only
    {"name": "status/world_fps", "kind": "float", "doc": "frames a second of the world"},
    {"name": "status/latency_ms", "kind": "float", "doc": "control to frame, median, in milliseconds"},
    {"name": "status/frames", "kind": "int", "doc": "frames sent"},
    {"name": "status/refused", "kind": "int", "doc": "controls that were not obeyed so far"},
    {"name": "status/state", "kind": "text", "doc": "state of the world"},
    {"name": "status/bank", "kind": "text", "doc": "name of the current bank"},
    {"name": "status/cue", "kind": "text", "doc": "name of the last cue"},
    {"name": "status/cue_number", "kind": "int", "doc": "number of the last cue, from 1; 0 before the first"},
    {
        "name": "status/tally",
        "kind": "text",
        "doc": "whether an NDI mixer or OBS shows this node: program, preview or off",
    },
    {"name": "status/timecode", "kind": "text", "doc": "the timecode that the show follows"},
    {"name": "status/timecode_state", "kind": "text", "doc": "waiting, locked, freewheel, stopped or running"},
    {"name": "status/beat", "kind": "float", "doc": "beats so far"},
    {"name": "status/quality", "kind": "text", "doc": "what is reduced in quality, and why"},
)
EXTENSIONS = ("ACCESS", "VALUE", "RANGE", "DESCRIPTION", "UNIT", "CLIPMODE", "OVERLOADS", "LISTEN")
ATTRIBUTES = frozenset(EXTENSIONS) - {"LISTEN"} | {"FULL_PATH", "CONTENTS", "TYPE"}
Node = dict[str, Any]


def method(row: Mapping[str, Any], value: Any, access: int) -> Node:
    """The attributes of one parameter. row: name, kind, doc, and where it has them low, high, choices, unit, takes."""
    kind = row["kind"]
    node: Node = {"DESCRIPTION": row["doc"], "TYPE": TYPES[kind], "ACCESS": access}
    if kind != "trigger":
        node["VALUE"] = [value]
    if kind in ("float", "int") and row.get("low") is not None:
        number = float if kind == "float" else int
        node |= {"RANGE": [{"MIN": number(row["low"]), "MAX": number(row["high"])}], "CLIPMODE": ["both"]}
    if kind == "enum":
        node["RANGE"] = [{"VALS": list(row["choices"])}]
    if row.get("unit") in UNITS:
        node["UNIT"] = [UNITS[row["unit"]]]
    takes = str(row.get("arguments", ""))
    if kind == "text" and "seconds" in takes:
        node["OVERLOADS"] = [{"TYPE": "sf"}]
    elif kind == "trigger" and "name" in takes:
        node["OVERLOADS"] = [{"TYPE": "s"}, {"TYPE": "i"}]
    return node


class Space:
    """All nodes with their current values.

    rows: as `method` takes them; a row that is not in `values` has no value yet.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], values: Mapping[str, Any]) -> None:
        self._nodes: dict[str, Node] = {}
        self.root = self._container("/")
        self._values: dict[str, list[Any]] = {}  # by target: the list that all its nodes share
        for row in rows:
            access = WRITE if row["kind"] == "trigger" else READ | WRITE
            self._add(row, values.get(row["name"]), access)
        for row in STATUS:
            self._add(row, {"float": 0.0, "int": 0, "text": ""}[row["kind"]], READ)
        for path, node in list(self._nodes.items()):
            if "TYPE" in node and "CONTENTS" in node:
                leaf = {key: what for key, what in node.items() if key != "CONTENTS"}
                leaf["FULL_PATH"] = f"{path}/{VALUE}"
                node["CONTENTS"] = {VALUE: leaf, **node["CONTENTS"]}
                self._nodes[leaf["FULL_PATH"]] = leaf

    def _container(self, path: str) -> Node:
        found = self._nodes.get(path)
        if found is None:
            found = self._nodes[path] = {"FULL_PATH": path, "ACCESS": NOTHING}
            if path != "/":
                parent, _, name = path.rpartition("/")
                found["DESCRIPTION"] = name
                self._container(parent or "/").setdefault("CONTENTS", {})[name] = found
        return found

    def _add(self, row: Mapping[str, Any], value: Any, access: int) -> None:
        node = self._container(PREFIX + row["name"])
        node.update(method(row, value, access))
        if "VALUE" in node:
            self._values[row["name"]] = node["VALUE"]

    def set(self, target: str, value: Any) -> bool:
        """Set a target's value; False where it is not in the tree."""
        shown = self._values.get(target)
        if shown is None:
            return False
        shown[0] = value
        return True

    def target(self, path: str) -> str | None:
        """The target of a path, or None."""
        name = path.removeprefix(PREFIX)
        if name in self._values:
            return name
        name = name.removesuffix(f"/{VALUE}")
        return name if path in self._nodes and name in self._values else None

    def value(self, target: str) -> Any:
        return self._values[target][0]

    def query(self, path: str, attribute: str = "") -> tuple[HTTPStatus, Node]:
        """The response to GET for a path, or for one of its attributes."""
        node = self._nodes.get(path.rstrip("/") or "/")
        if node is None:
            return HTTPStatus.NOT_FOUND, {}
        if not attribute:
            return HTTPStatus.OK, node
        if attribute not in ATTRIBUTES:
            return HTTPStatus.BAD_REQUEST, {}
        if attribute == "VALUE" and node["ACCESS"] == WRITE:
            return HTTPStatus.NO_CONTENT, {}
        return HTTPStatus.OK, {attribute: node[attribute]} if attribute in node else {}


def host_info(name: str, osc_host: str, osc_port: int, query_port: int) -> Node:
    """osc_host: empty where OSC is received at every address of the machine."""
    info: Node = {"NAME": name, "OSC_PORT": osc_port, "OSC_TRANSPORT": "UDP", "WS_PORT": query_port}
    if osc_host:
        info["OSC_IP"] = osc_host
    return info | {"EXTENSIONS": dict.fromkeys(EXTENSIONS, True)}
