"""A Text DAT: what a script says to the show, through the OSC Out DAT `oscout1` (127.0.0.1, port 9010)."""

OUT = "oscout1"


def send(address, *args):
    """One message: send('/wj/energy', 0.5)"""
    op(OUT).sendOSC(address, list(args))  # noqa: F821  # TouchDesigner provides op


def prompt(text, seconds=None):
    send("/wj/prompt", text, *([] if seconds is None else [float(seconds)]))


def pads(weights):
    """{1: 0.7, 2: 0.3}: those weights together, and every other pad down, in one bundle."""
    messages = [[f"/wj/pad/{n}", [float(weights.get(n, 0.0))]] for n in range(1, 17)]
    op(OUT).sendOSC(messages, asBundle=True)  # noqa: F821


def step(name, amount):
    """A bit further than now: step('cam/yaw', 0.05)"""
    send(f"/wj/{name}/+", float(amount))


def act(name):
    send(f"/wj/act/{name}", 1)


def cue(name=None):
    """By name or number; without either, the next one."""
    send("/wj/cue/go", *([] if name is None else [name]))


def ask(name, port=9011):
    """The answer comes to the OSC In DAT on that port."""
    send(f"/wj/{name}", "?", port)


def subscribe(port, rate=30):
    send("/wj/subscribe", port, rate)
