"""Prints an Open Stage Control session for every parameter there is.

wj reference --json | python make_session.py > worldjockey.json
"""

import json
import sys

COLUMNS, WIDTH, HEIGHT = 8, 12.5, 22  # per cent of the tab


def widget(row, index):
    """One parameter as one widget, at its place in the grid."""
    place = {
        "left": f"{index % COLUMNS * WIDTH:g}%",
        "top": f"{index // COLUMNS * HEIGHT:g}%",
        "width": f"{WIDTH:g}%",
        "height": f"{HEIGHT:g}%",
    }
    name = row["name"]
    common = {"id": name, "label": name, "address": row["osc"], "target": "127.0.0.1:9010", **place}
    if row["kind"] in ("float", "int"):
        common |= {"range": {"min": row["low"], "max": row["high"]}, "default": row["default"]}
        return {"type": "fader", **common, "decimals": 0 if row["kind"] == "int" else 3}
    if row["kind"] == "enum":
        return {"type": "dropdown", **common, "values": row["choices"], "default": row["default"]}
    if row["kind"] == "text":
        return {"type": "input", **common}
    mode = "toggle" if row["kind"] == "bool" else "tap"
    return {"type": "button", **common, "mode": mode, "on": 1, "off": 0}


def tab(name, rows):
    widgets = [widget(row, index) for index, row in enumerate(rows)]
    return {"type": "tab", "id": f"tab {name}", "label": name, "scroll": True, "widgets": widgets}


def session(rows):
    rows = [row for row in rows if "<" not in row["name"]]  # a family such as word/<word> has no one address
    groups = {"pads": [], "prompts": [], "acts": [], "camera": [], "show": []}
    for row in rows:
        name = row["name"]
        if row["kind"] == "text":
            groups["prompts"].append(row)
        elif name.startswith(("pad/", "bank", "morph")):
            groups["pads"].append(row)
        elif name.startswith("act"):
            groups["acts"].append(row)
        elif name.startswith("cam/"):
            groups["camera"].append(row)
        else:
            groups["show"].append(row)
    tabs = [tab(name, found) for name, found in groups.items() if found]
    root = {"type": "root", "id": "root", "widgets": [], "tabs": tabs}
    return {"createdWith": "Open Stage Control", "version": "1.25.0", "type": "session", "content": root}


if __name__ == "__main__":
    json.dump(session(json.load(sys.stdin)), sys.stdout, indent=1)
    print()
