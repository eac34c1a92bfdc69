"""Imports point downwards only. Those that do not yet are listed in KNOWN, which may only shrink."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LAYERS = {
    "node": "__main__, cli, measure, session, remote, control | world | output | compat, show, ipc, timing, parameters",
    "model": "__init__, train, evaluate, registry, nano | worlds, painting, "
    "stage | spec | errors | devices | weights_store",
}
RANKS = {top: {room: -n for n, tier in enumerate(text.split(", ")) for room in tier.split(" | ")}
         for top, text in LAYERS.items()}  # fmt: skip
SHARED = {"media", "gl", "addresses", "child", "same_origin", "token_bucket"}  # what several protocols have in common
PUBLIC = {"spec", "registry", "errors"}  # of model, for node; besides the names of its package
KNOWN: set[tuple[str, str]] = {
    ("node.cli.weights", "model.weights_store"),
    ("node.cli.weights", "model.worlds"),
    ("node.measure.doctor", "integrations.gl.canvas"),
    ("node.measure.doctor", "integrations.gl.cuda"),
    ("node.measure.interpolation", "model.evaluate.scorecard.truth"),
    ("node.measure.interpolation", "model.stage.vocabulary"),
    ("node.measure.model_choice", "model.weights_store"),
    ("node.world.frame_publisher", "integrations.gl.cuda"),
    ("node.world.process", "model.worlds.distributed"),
    ("node.world.torchrun_worker", "model.worlds.distributed"),
}


def modules(top: str) -> Iterator[tuple[str, str, set[str]]]:
    """Each module, its room, and the modules that it imports, all without "worldjockey."."""
    for path in sorted((ROOT / top).rglob("*.py")):
        here = path.relative_to(ROOT).with_suffix("").parts
        found = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.removeprefix("worldjockey.") for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                base = [*here[: len(here) - node.level]] if node.level else []
                base += (node.module or "").removeprefix("worldjockey.").split(".") if node.module else []
                names = [".".join([*base, alias.name]) for alias in node.names]
                found |= {name if is_module(name) else ".".join(base) for name in names}
        yield ".".join(here).removesuffix(".__init__"), (here[1:] or ("__init__",))[0], found


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def forbidden(top: str, room: str, to: str) -> bool:
    where, _, rest = to.partition(".")
    there = rest.partition(".")[0] or "__init__"
    if (top, where) == ("node", "model"):
        return there not in {"__init__", *PUBLIC}
    if (top, where) == ("node", "integrations"):
        return there in SHARED
    if where != top:
        return where in {"node", "model", "integrations"} or (top == "integrations" and where == "torch")
    if top == "integrations":
        return there not in (room, "__init__") and (there not in SHARED or room in SHARED)
    return there not in (room, "__init__") and RANKS[top][there] >= RANKS[top][room]


def test_imports_point_downwards_only() -> None:
    found = {(name, to) for top in ("node", "model", "integrations") for name, room, imports in modules(top)
             for to in imports if forbidden(top, room, to)}  # fmt: skip
    assert found - KNOWN == set(), "these climb, or reach into another's insides"
    assert KNOWN - found == set(), "these are mended: take them out of KNOWN"
