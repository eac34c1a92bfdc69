"""The status line of a running show, and the errors that it plays on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .report import latency


def errors(world: Mapping[str, Any], clock: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[str]:
    """The errors of all processes that run nevertheless. The arguments are statuses, the outputs' by name."""
    return running_errors(world, clock) + pixel_path_errors(world, outputs) + delivery_errors(outputs)


def running_errors(*statuses: Mapping[str, Any]) -> list[str]:
    """Why world and clock run in part only: a prompt that cannot be encoded, a missing matte, missing OpenCV.

    What became of a second machine is left out: it is one of the link's events."""
    found = []
    for status in statuses:
        link, message = status.get("link", {"up": True}), status.get("message")
        if status.get("state") == "running" and link["up"] and message and message != link.get("other_message"):
            found.append(message)
    return found


def pixel_path_errors(world: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[str]:
    """Why frames of a world on a graphics card go through the processor after all, by output."""
    found = [f"world: frames go through the processor: {world['card']}"] if world.get("card") else []
    running = {name: status for name, status in outputs.items() if status.get("state") == "running"}
    return found + [f"{name}: {status['message']}" for name, status in running.items() if status.get("message")]


def delivery_errors(outputs: Mapping[str, Any]) -> list[str]:
    """Why the frames of a running output reach no receiver, by output."""
    running = {name: status.get("facts", {}) for name, status in outputs.items() if status.get("state") == "running"}
    return [f"{name}: {facts['error']}" for name, facts in running.items() if facts.get("error")]


def line(world: Mapping[str, Any], clock: Mapping[str, Any], outputs: Mapping[str, Any]) -> str:
    """The live status, one line."""
    delay = latency(outputs)
    painted = f", painted {world['painted_fps']:.1f}" if world.get("painted_fps") else ""
    parts = [
        f"world {world.get('state', 'opening')} {world.get('fps', 0):.1f} fps{painted}",
        f"control to frame {delay['p50']:.0f}/{delay['p95']:.0f} ms",
        f"{clock.get('ticks', 0)} sent, {clock.get('late', 0)} late, {clock.get('missed', 0)} missed",
    ]
    parts += [_output(name, status) for name, status in outputs.items()]
    if world.get("quality"):
        parts.append(world["quality"])
    if world.get("upscaling"):
        parts.append(world["upscaling"])
    if world.get("restarts"):
        parts.append(f"{world['restarts']} restarts")
    return "  ·  ".join(parts)


def timecode(status: Mapping[str, Any]) -> str:
    """As in "  ·  MTC 01:00:12:05 locked"."""
    name = {"internal": "timecode"}.get(status["source"], status["source"].upper())
    chase = "" if status["chase"] else ", not chased"
    return f"  ·  {name} {status['now'] or '--:--:--:--'} {status['state']}{chase}"


def _output(name: str, status: Mapping[str, Any]) -> str:
    state, facts = status.get("state", "opening"), status.get("facts", {})
    url = f" {facts['url']}" if "url" in facts else ""
    path = " by CUDA" if status.get("texture") == "card" else ""
    receivers = f" ×{facts['connections']}" if "connections" in facts else ""
    on_air = " ON AIR" if facts.get("tally", {}).get("program") else ""
    error = facts.get("error", "") if state in ("running", "closed") else status.get("message", "")
    return f"{name} {state}{url}{path}{receivers}{on_air}{f' ({error})' if error else ''}"
