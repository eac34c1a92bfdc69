"""Prints a Companion configuration with pages for pads, cues, acts and the show, for Companion's module "Generic: OSC".

wj reference --json | python make_config.py > worldjockey.companionconfig
wj reference --json | python make_config.py --show my.yaml > my.companionconfig     with the names of your pads and cues
"""

import argparse
import json
import sys

ROWS, COLS = 4, 8  # of a page; a smaller Stream Deck shows its upper left part
CONNECTION, LABEL = "worldjockey", "wj"
HOST, PORT, FEEDBACK_PORT = "127.0.0.1", "9010", "9011"
CUES = 24
WHITE, BLACK = 0xFFFFFF, 0x000000
# Of a page's buttons, while they are off and while they are on.
COLORS = {"pad": (0x0C2840, 0x2478BE), "flash": (0x0C2840, 0x2478BE), "cue": (0x402804, 0xC47814),
          "act": (0x281840, 0x7846BE), "show": (0x102C30, 0x3C6E78), "warn": (0x400808, 0xC82828)}  # fmt: skip
VERSION = 4  # of the file: Companion 3.0 and every later one reads it


class Buttons:
    """Makes buttons. Each has an id of its own, so that the same table always makes the same file."""

    def __init__(self):
        self.count = 0

    def id(self):
        self.count += 1
        return f"wj{self.count:05d}"

    def send(self, path, value=None):
        """An action that sends one message. value: a float, an int, a text or nothing."""
        kind = {float: "float", int: "int", str: "string"}.get(type(value))
        options = {"path": path} if kind is None else {"path": path, kind: value if kind == "string" else str(value)}
        action = "send_blank" if kind is None else f"send_{kind}"
        return {"id": self.id(), "action": action, "instance": CONNECTION, "options": options, "delay": 0}

    def lit(self, path, value, comparison, color):
        """A feedback: another color while the newest message at `path` compares like this with `value`."""
        kind = {float: "float", int: "int", str: "string"}[type(value)]
        options = {"path": path, "arguments": value if kind == "string" else str(value), "comparison": comparison}
        return {"id": self.id(), "type": f"osc_feedback_{kind}", "instance_id": CONNECTION, "options": options,
                "isInverted": False, "style": {"bgcolor": color, "color": WHITE}}  # fmt: skip

    def button(self, text, group, steps, feedback=None):
        """steps: the messages as the button goes down and as it comes up, one pair for each press in turn. feedback:
        path, value and comparison of what lights it."""
        off, on = COLORS[group]
        return {
            "type": "button",
            "style": {"text": text, "textExpression": False, "size": "auto", "png64": None, "color": WHITE,
                      "alignment": "center:center", "pngalignment": "center:center", "bgcolor": off,
                      "show_topbar": "default"},
            "options": {"relativeDelay": False, "rotaryActions": False, "stepAutoProgress": True},
            "feedbacks": [] if feedback is None else [self.lit(*feedback, on)],
            "steps": {
                str(n): {"action_sets": {"down": [self.send(*message) for message in down],
                                         "up": [self.send(*message) for message in up]},
                         "options": {"runWhileHeld": []}}
                for n, (down, up) in enumerate(steps)
            },
        }  # fmt: skip


def page(name, places):
    """places: controls by row and column."""
    controls = {}
    for (row, col), control in places.items():
        controls.setdefault(str(row), {})[str(col)] = control
    controls.setdefault(str(ROWS - 1), {}).update(
        {str(COLS - 2): {"type": "pageup"}, str(COLS - 1): {"type": "pagedown"}}
    )
    size = {"minColumn": 0, "maxColumn": COLS - 1, "minRow": 0, "maxRow": ROWS - 1}
    return {"name": name, "controls": controls, "gridSize": size}


def grid(buttons, first_row=0, last_row=ROWS - 1):
    """The places of buttons from a row on, and none where pages are turned."""
    places = [(row, col) for row in range(first_row, last_row + 1) for col in range(COLS)]
    free = [place for place in places if place not in ((ROWS - 1, COLS - 2), (ROWS - 1, COLS - 1))]
    return dict(zip(free, buttons, strict=False))


def pages(rows, pads=(), cues=()):
    """The pages for a parameter table. pads, cues: names, where a show is known."""
    make, osc = Buttons(), {row["name"]: row["osc"] for row in rows}
    numbers = [n for n in range(1, 17) if f"pad/{n}" in osc]
    names = dict(enumerate(pads, 1))

    def level(n):
        return osc[f"pad/{n}"], 0.5, "greaterthanequal"

    def on(n, value):
        return [(osc[f"pad/{n}"], value)]

    def press(name, text, group="show"):
        """A trigger, without a value: a number would be a cue's, or a take's seconds."""
        return make.button(text, group, [([(osc[name],)], [])])

    def switch(name, text, group, low, high):
        """A fader or switch that goes to its end, and back with the next press."""
        return make.button(text, group, [([(osc[name], high)], []), ([(osc[name], low)], [])],
                           (osc[name], 0.5, "greaterthanequal"))  # fmt: skip

    go = press("cue/go", "GO", "cue")
    stepped = [make.button(names.get(n) or f"PAD {n}", "pad", [(on(n, 1.0), []), (on(n, 0.0), [])], level(n))
               for n in numbers]  # fmt: skip
    flashed = [make.button(f"flash\\n{names.get(n) or n}", "flash", [(on(n, 1.0), on(n, 0.0))], level(n))
               for n in numbers[:COLS]]  # fmt: skip
    ends = [press("cue/back", "BACK", "cue"), go, press("bank/previous", "BANK\\n-"), press("bank/next", "BANK\\n+"),
            switch("freeze", "FREEZE", "show", 0, 1), switch("blackout", "BLACK", "warn", 0.0, 1.0)]  # fmt: skip
    fired = [
        make.button(dict(enumerate(cues, 1)).get(n, f"CUE {n}"), "cue", [([(osc["cue/go"], n)], [])],
                    ("/wj/status/cue_number", n, "equal"))
        for n in range(1, min(len(cues) or CUES, CUES) + 1)
    ]  # fmt: skip
    cue_ends = [press("cue/back", "BACK", "cue"), press("cue/go", "GO", "cue"), press("cue/stop", "STOP", "warn")]
    acts = [
        make.button(name.removeprefix("act/").upper(), "act", [([(osc[name],)], [])],
                    (osc["act"], name.removeprefix("act/"), "equal"))
        for name in osc if name.startswith("act/")
    ]  # fmt: skip
    others = [
        press("cam/home", "CAM\\nHOME"), press("tempo/tap", "TAP"), press("tempo/downbeat", "DOWN\\nBEAT"),
        press("undo", "UNDO"), press("snapshot/save", "SAVE"), press("snapshot/recall", "RECALL"),
        switch("preview/on", "PREVIEW", "show", 0, 1), press("preview/take", "TAKE", "warn"),
        make.button("ON AIR", "warn", [([], [])], ("/wj/status/tally", "program", "equal")),
        make.button("FOLLOW\\nSHOW", "show", [([("/wj/subscribe", int(FEEDBACK_PORT))], [])]),
    ]  # fmt: skip
    faders = [
        make.button(f"{name}\\n{sign}", "show", [([(osc[name] + "/+", step)], [])])
        for name in ("energy", "speed", "cam/zoom", "morph")
        for sign, step in (("-", -0.1), ("+", 0.1))
    ]
    return {
        "1": page("pads", {**grid(stepped, 0, 1), **grid(flashed, 2, 2), **grid(ends, 3)}),
        "2": page("cues", {**grid(fired, 0, 2), **grid(cue_ends, 3)}),
        "3": page("acts", grid(acts)),
        "4": page("show", {**grid(others, 0, 1), **grid(faders, 2)}),
    }


def config(rows, pads=(), cues=()):
    connection = {
        "label": LABEL, "instance_type": "generic-osc", "enabled": True, "sortOrder": 0, "isFirstInit": False,
        "lastUpgradeIndex": 0,
        "config": {"host": HOST, "targetPort": PORT, "protocol": "udp", "listen": True, "feedbackPort": FEEDBACK_PORT},
    }  # fmt: skip
    return {
        "version": VERSION, "type": "full", "pages": pages(rows, pads, cues), "instances": {CONNECTION: connection},
        "triggers": {}, "custom_variables": {}, "surfaces": {}, "surfaceGroups": {},
    }  # fmt: skip


def names_of(path):
    """The labels of a show's pads (of the first bank), and the names of its cues."""
    from worldjockey.node.show.schema import Show

    show = Show.load(path)
    return [pad.label or pad.text[:20] for pad in show.bank(None)], [cue.name for cue in show.cues]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make a Companion configuration from `wj reference --json`.")
    parser.add_argument("--show", help="a show file, for the names of its pads and cues")
    show_file = parser.parse_args().show
    json.dump(config(json.load(sys.stdin), *(names_of(show_file) if show_file else ())), sys.stdout, indent=1)
    print()
