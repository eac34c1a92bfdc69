"""The generated parts of docs/: `python -m worldjockey.node.cli.docs` rewrites them, `--check` fails when one is stale.

A page marks a generated part by two comments, `<!-- generated: NAME -->` and `<!-- end -->`. The reference, the
commands and the worlds come from the program itself. Every table of measurements comes from a JSON file in
docs/figures, which holds what a command wrote and where, when and how it was measured:

    {"command": "wj bench --seconds 6", "date": "2026-11-24", "commit": "ee50738", "machine": "...", "note": "...",
     "result": {...}}

`--add bench run.json --command "wj bench --seconds 6" --machine "..."` makes such a file from a command's own JSON.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
ATTRIBUTES = ("place", "light", "weather", "figure", "tint", "mood")
Figures = Mapping[str, Any]


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table."""
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in (columns, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join([lines[0], "|" + " --- |" * len(columns), *lines[1:]])


def measured(figures: Figures) -> str:
    """The line above a table of measurements: what made it, when and where."""
    commit = f", commit {figures['commit']}" if figures.get("commit") else ""
    machine = f", on {figures['machine']}" if figures.get("machine") else ""
    command = f" with `{figures['command']}`" if figures.get("command") else ""
    text = f"Measured{command} on {figures['date']}{commit}{machine}."
    return f"{text} {figures.get('note', '')}".strip()


def pair(found: Mapping[str, float] | None) -> str:
    return f"{_rounded(found['p50'])} / {_ms(found['p95'])}" if found else ""


def _ms(value: float | None) -> str:
    return "" if value is None else f"{_rounded(value)} ms"


def _rounded(value: float) -> str:
    """Two digits, which is as exact as times are."""
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}".removesuffix(".0")


# -- tables of measurements: what a command wrote as JSON -> Markdown --------------------------------------------------


def bench(result: Figures) -> str:
    """`wj bench --json`."""
    busy = result["world_beside_a_busy_core"]
    chains = [result[f"chain{name}"] for name in ("", "_in_a_flood", "_in_many_hands", "_beside_a_busy_core")]
    rows = []
    for row in result["world"]:
        beside = f"{busy['fps']:g} ({busy['ratio']:.0%})" if row["steps"] == busy["steps"] else ""
        plural = "s" if row["steps"] > 1 else ""
        rows.append([f"world alone, {row['steps']} step{plural}: frames a second", f"{row['fps']:g}", "", "", beside])
    out = result["output"]
    whole = f"whole chain, {out['to']} at {out['size']}, {out['fps']} a second"
    lines: dict[str, Callable[[Figures], str]] = {
        f"{whole}: world frames a second": lambda c: f"{c['world_fps']:g}",
        "ticks later than 5 ms": lambda c: f"{c['late_percent']:g}%",
        "ticks missed": lambda c: f"{c['missed']}" + (f" of {c['ticks']}" if "ticks" in c else ""),
        "control to sent frame, p50 / p95": lambda c: pair(c["latency_ms"]),
        "control to mailbox, p50 / p95": lambda c: pair(c["arrival_ms"]),
        "CPU of control and clock for each frame": lambda c: _ms(c["node_cpu_ms"]),
        f"CPU of {out['to']} for each frame, without a receiver": lambda c: _ms(c["outlet_cpu_ms"]),
        "memory of all processes": lambda c: f"{c['memory']['all_mb']:g} MB",
        "growth of that memory during the run": lambda c: f"{c['memory']['all_growth_mb']:g} MB",
    }
    rows += [[name, *(show(chain) for chain in chains)] for name, show in lines.items()]
    return table(("", "alone", "flood", "many hands", "busy core"), rows)


def outputs(result: Figures) -> str:
    """`wj bench --outputs --json`."""
    rows = []
    for row in result["ways"]:
        if "lacks" in row:
            continue
        name = row["way"] + (f" ({row['note']})" if row.get("note") else "")
        rows.append([name, _ms(row["cpu_ms"]), _ms(row["node_cpu_ms"]), row["copies"], pair(row["received_ms"])])
    columns = ("output", "its CPU for each frame", "the node's", "copies", "control to received pixel, p50 / p95")
    return table(columns, rows)


def rig(result: Figures) -> str:
    """`wj bench --rig --json`."""
    out = result["output"]
    rows = [
        ["output", f"{out['size']} at {out['fps']} frames a second, {result['minutes']:g} minutes"],
        ["ticks missed", f"{result['missed']} of {result['ticks']}" if "missed" in result else ""],
        ["ticks late", f"{result['late']}, the worst by {result['worst_ms']:g} ms" if "late" in result else ""],
        ["world frames a second", f"{result['world_fps']:g}" if "world_fps" in result else ""],
        ["control to sent frame, p50 / p95", pair(result.get("latency_ms"))],
        ["passed", "yes" if result["passed"] else "no"],
    ]
    return table(("", ""), [row for row in rows if row[1]])


def interpolation(result: Figures) -> str:
    """`python -m worldjockey.node.measure.interpolation --json`."""
    flow, warp = (result["cpu_ms"][part]["p50"] for part in ("flow", "warp"))
    cost = {"motion": f"{flow:g} ms a world frame and {warp:g} ms a tick"}
    rows = [
        [f"`{fill}`", f"{found['mean']:g} dB", cost.get(fill, "")] for fill, found in result["psnr"].items()
    ]  # fmt: skip
    return table(("`/wj/inbetween`", "likeness to the true frame (PSNR)", "CPU"), rows)


LABELS = {
    "autoencoder: unseen scenes": "autoencoder, on scenes it has not seen",
    "obedience: 1 step": "obedience in 1 step: the worst of place, light, weather and act",
    "obedience: 4 steps": "obedience in 4 steps",
    "obedience: unseen paraphrases": "obedience to phrases that training never used",
    "few steps: Fréchet, 1 against 4": "Fréchet distance of 1 step, against 4 steps",
    "reaction": "frames until a new prompt shows",
    "continuity: largest jump": "largest jump in a 1 s transition, against normal motion",
    "camera: worst of 8 commands": "camera: the worst of eight commands",
    "camera: strafe told from yaw": "camera: strafe distinguished from yaw",
    "sound: picture with beat": "correlation of the frame's energy with a beat",
    "drift: minute 0.8 against 0.3": "drift within a minute",
    "memory: away and back, judge": "turned away and back: distance to the first view, against random views",
    "memory: away and back, pixels": "the same, by pixels",
    "true speed: 1/10 s against 1/24 s": "difference of motion between steps of 1/10 s and of 1/24 s",
    "stability: change that no motion explains": "change from frame to frame that no motion explains",
    **{
        f"sharpness at {size}: {what}": f"{size}: {label}"
        for size in ("512x288", "1024x576")
        for what, label in (
            ("width of edges, times the true one", "width of edges, against those of the stage"),
            ("overshoot beside edges", "overshoot beside edges, of their height"),
            ("finest band", "likeness of the finest details (above a quarter of the sampling rate)"),
        )
    },
}


def scorecard(result: Figures) -> str:
    """`wj eval --json`."""

    def shown(value: float | None, unit: str) -> str:
        if value is None:
            return ""
        if unit == "%":
            return f"{value:.0%}"
        return f"{value:.3g}" + {"x": "x", "frames": ""}.get(unit, f" {unit}").rstrip()

    rows = []
    for name, row in result["rows"].items():
        bound = ("at most " if row["at_most"] else "at least ") + shown(row["target"], row["unit"])
        figures = [shown(row["value"], row["unit"]), bound, shown(row.get("truth"), row["unit"])]
        rows.append([LABELS.get(name, name), *figures])
    text = table(("what", result["world"], "target", "on true frames of the stage"), rows)
    obeyed = {name: row["detail"] for name, row in result["rows"].items() if "share" in row.get("detail", {})}
    if not obeyed:
        return text
    truth = next(iter(obeyed.values()))["right on true frames"]
    cells = [["the judge on true frames", *(f"{truth[k]:.0%}" for k in ATTRIBUTES)]]
    for name, detail in obeyed.items():
        share = detail["share"]
        cells.append([name.removeprefix("obedience: "), *(f"{share[k]:.0%}" if k in share else "" for k in ATTRIBUTES)])
    return f"{text}\n\n{table(('obedience', *ATTRIBUTES), cells)}"


def kill(result: Figures) -> str:
    """`wj bench --kill --json`."""
    rows = [[what, f"{row['kills']}", f"{row['missed']}", f"{row['worst']}"] for what, row in result["killed"].items()]
    out = result["output"]
    sent = f"{result['ticks']} ticks at {out['fps']} a second, {out['size']}"
    head = f"{sent}; {result['missed']} missed, {result['late']} late."
    return f"{head}\n\n{table(('killed', 'times', 'ticks missed', 'at worst'), rows)}"


def crowd(result: Figures) -> str:
    """`wj bench --crowd --json`."""
    from ..measure.crowd import rows

    return table((f"{result['model']}, {result['size']}", "no audience", "a full room"), rows(result))


def reaction(result: Figures) -> str:
    rows = [[row["what"], f"{row['p50']:.0f} / {row['p95']:.0f} ms"] for row in result["rows"]]
    return table(["from the control to the received pixel", "p50 / p95"], rows)


def plain(result: Figures) -> str:
    """Figures that were taken by hand: columns and rows."""
    return table(result["columns"], result["rows"])


FIGURES: dict[str, Callable[[Figures], str]] = {
    "bench": bench,
    "outputs": outputs,
    "rig-720p": rig,
    "rig-180p": rig,
    "interpolation": interpolation,
    "scorecard": scorecard,
    "kill": kill,
    "crowd": crowd,
    "reaction": reaction,
    "latency": plain,
    "nano-speed": plain,
    "nano-show": plain,
    "browser": plain,
    "stream-audio": plain,
}


# -- what comes from the program itself
# -----------------------------------------------------------------------------------


def reference() -> str:
    from ..control import reference as made

    return made.markdown()


def dmx() -> str:
    from ..control import fixture_profile

    return fixture_profile.markdown()


def _commands() -> Iterator[tuple[str, Any]]:
    """Every command with its full name, in the order of `wj --help`."""
    import typer

    from .app import app

    def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
        if not hasattr(command, "commands"):
            yield name, command
        for sub, child in getattr(command, "commands", {}).items():
            yield from below(f"{name} {sub}", child)

    return below("wj", typer.main.get_command(app))


def command_names() -> list[str]:
    """As they are typed: "wj play", "wj weights list", ..."""
    return [name for name, _ in _commands()]


def commands() -> str:
    """A section for each command, from its own help."""
    parts = []
    for name, command in _commands():
        help_ = re.sub(r"[ \t]*\n[ \t]*", "\n", command.help or "").strip()
        rows = []
        for p in command.params:
            if p.param_type_name == "argument":
                rows.append([f"`{p.metavar or p.name.upper()}`", getattr(p, "help", None) or ""])
            elif p.name != "help":
                flags = "/".join(f"`{flag}`" for flag in (*p.opts, *p.secondary_opts))
                rows.append([flags, p.help or ""])
        parts += [f"## {name}", help_, *([table(("option", "what it does"), rows)] if rows else [])]
    return "\n\n".join(parts)


def worlds() -> str:
    """The worlds of this package, as `wj weights list` has them."""
    from worldjockey.model.registry import worlds as known

    rows = [
        [
            f"`{entry.name}`",
            f"`[{entry.extra}]`" if entry.extra else "",
            f"[{entry.licence}]({entry.terms})" if entry.terms else entry.licence,
            f"{size:.0f} GB" if (size := sum(source.gigabytes for source in entry.weights)) else "",
            f"{entry.memory:g} GB" if entry.memory else "",
            entry.rate,
            "" if entry.weights else "CPU",
        ]
        for entry in known().values()
        if entry.package == "worldjockey"
    ]
    return table(
        ("world", "extra", "licence", "download", "memory", "frames a second, as published", "seen playing on"), rows
    )


def keys() -> str:
    """What the keys do by default."""
    from ..control.maps import KEY_NAMES
    from ..show.keys import DEFAULT_KEYS

    by_use: dict[str, list[str]] = {}
    for key, does in DEFAULT_KEYS.items():
        number = int(does.removeprefix("pad/")) if does.startswith("pad/") else 0
        does = ("pad/1 to pad/8" if number <= 8 else "pad/9 to pad/16") if number else does
        by_use.setdefault(does, []).append(f"`{KEY_NAMES.get(key, key)}`")
    return table(("key", "what it does"), [[", ".join(names), f"`{does}`"] for does, names in by_use.items()])


def gamepad() -> str:
    """What the controls of a gamepad do by default."""
    from ..show.gamepad import DEFAULT_MAP

    rows = []
    for line in DEFAULT_MAP:
        ends = f", {line.low:g} to {line.high:g}" if line.low is not None and line.high is not None else ""
        rows.append([f"`{line.button or line.axis}`", f"`{line.to}`{ends}"])
    return table(("control", "what it does"), rows)


OWN: dict[str, Callable[[], str]] = {
    "dmx": dmx, "reference": reference, "commands": commands, "worlds": worlds, "keys": keys, "gamepad": gamepad,
}  # fmt: skip


# -- pages -------------------------------------------------------------------------------------------------------------


def block(name: str, folder: Path) -> str:
    """What stands between the comments of that name. Raises ValueError for a name that there is not."""
    if name in OWN:
        return OWN[name]()
    if name not in FIGURES:
        raise ValueError(f"there is no generated part {name!r}: there are {', '.join((*OWN, *FIGURES))}")
    figures = json.loads((folder / "figures" / f"{name}.json").read_text("utf-8"))
    return f"{measured(figures)}\n\n{FIGURES[name](figures['result'])}"


def page(text: str, folder: Path) -> str:
    """The page with every generated part replaced."""

    def made(match: re.Match[str]) -> str:
        return f"{match[1]}\n{block(match[2], folder)}\n\n{match[3]}"

    return BLOCK.sub(made, text)


def stale(folder: Path) -> dict[Path, str]:
    """The pages whose generated parts are not what they would be now, and the text that they would have."""
    found = {}
    for path in sorted(folder.rglob("*.md")):
        text = path.read_text("utf-8")
        if (made := page(text, folder)) != text:
            found[path] = made
    return found


def add(folder: Path, name: str, source: Path, command: str, machine: str, note: str) -> Path:
    """Put a command's JSON into docs/figures, with today's date and the commit that is checked out."""
    if name not in FIGURES:
        raise ValueError(f"there are no figures {name!r}: there are {', '.join(FIGURES)}")
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=folder)
    figures = {
        "command": command, "date": time.strftime("%Y-%m-%d"), "commit": found.stdout.strip(), "machine": machine,
        "note": note, "result": json.loads(source.read_text("utf-8")),
    }  # fmt: skip
    path = folder / "figures" / f"{name}.json"
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m worldjockey.node.cli.docs", description="Make the generated pages.")
    parser.add_argument("--folder", type=Path, default=Path("docs"), help="the folder of the pages (docs)")
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if a page is stale")
    parser.add_argument("--add", nargs=2, metavar=("NAME", "JSON"), help="first take these figures into docs/figures")
    parser.add_argument("--command", default="", help="of --add: the command that wrote the JSON")
    parser.add_argument("--machine", default="", help="of --add: the machine that it ran on")
    parser.add_argument("--note", default="", help="of --add: what a reader has to know beside the table")
    args = parser.parse_args(argv)
    if args.add:
        print(f"wrote {add(args.folder, args.add[0], Path(args.add[1]), args.command, args.machine, args.note)}")
    pages = stale(args.folder)
    for path, text in pages.items():
        if args.check:
            print(f"{path} is stale: run python -m worldjockey.node.cli.docs")
        else:
            path.write_text(text, "utf-8")
            print(f"wrote {path}")
    return int(args.check and bool(pages))


if __name__ == "__main__":
    raise SystemExit(main())
