"""The status line of a running show, and what is missing while it plays."""

from __future__ import annotations

from typing import Any

from .report import latency


def lacking(*processes: dict[str, Any]) -> list[str]:
    """What world and clock do without, while they play: a prompt that was not understood, a matte, OpenCV."""
    playing = [said for said in processes if said.get("state") == "running" and said.get("link", {"up": True})["up"]]
    return [said["message"] for said in playing if said.get("message")]


def off_the_card(world: dict[str, Any], outputs: dict[str, Any]) -> list[str]:
    """Why frames of a world on a graphics card go through the processor after all, by output."""
    found = [f"world: frames go through the processor: {world['card']}"] if world.get("card") else []
    running = {name: said for name, said in outputs.items() if said.get("state") == "running"}
    return found + [f"{name}: {said['message']}" for name, said in running.items() if said.get("message")]


def unheard(outputs: dict[str, Any]) -> list[str]:
    """Why nobody takes what an output that plays sends, by output."""
    running = {name: said.get("facts", {}) for name, said in outputs.items() if said.get("state") == "running"}
    return [f"{name}: {facts['error']}" for name, facts in running.items() if facts.get("error")]


def line(world: dict[str, Any], clock: dict[str, Any], outputs: dict[str, Any]) -> str:
    """The live status, one line."""
    delay = latency(outputs)
    parts = [
        f"world {world.get('state', 'opening')} {world.get('fps', 0):.1f} fps",
        f"control to frame {delay['p50']:.0f}/{delay['p95']:.0f} ms",
        f"{clock.get('ticks', 0)} sent, {clock.get('late', 0)} late, {clock.get('missed', 0)} missed",
    ]
    for name, said in outputs.items():
        facts = said.get("facts", {})
        where = f" {facts['url']}" if "url" in facts else ""
        extra = f" ×{facts['connections']}" if "connections" in facts else ""
        on_air = " ON AIR" if facts.get("tally", {}).get("program") else ""
        where += " by CUDA" if said.get("texture") == "card" else ""
        words = said.get("message", "") if said.get("state") not in ("running", "closed") else facts.get("error", "")
        parts.append(f"{name} {said.get('state', 'opening')}{where}{extra}{on_air}{f' ({words})' if words else ''}")
    if world.get("quality"):
        parts.append(world["quality"])
    if world.get("restarts"):
        parts.append(f"{world['restarts']} restarts")
    return "  ·  ".join(parts)
