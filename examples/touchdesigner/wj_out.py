"""A Text DAT: plays the show from a script, through the OSC Out DAT `oscout1` (127.0.0.1, port 9010)."""

OUT = "oscout1"


def send(address, *args):
    """One message: send('/wj/energy', 0.5)"""
    op(OUT).sendOSC(address, list(args))  # noqa: F821  # TouchDesigner provides op


def prompt(text, seconds=None):
    send("/wj/prompt", text, *([] if seconds is None else [float(seconds)]))


def pads(weights):
    """Sets all pads in one bundle, as in {1: 0.7, 2: 0.3}; pads that are not named go to 0."""
    messages = [[f"/wj/pad/{n}", [float(weights.get(n, 0.0))]] for n in range(1, 17)]
    op(OUT).sendOSC(messages, asBundle=True)  # noqa: F821


def step(name, amount):
    """Moves a fader by an amount: step('cam/yaw', 0.05)"""
    send(f"/wj/{name}/+", float(amount))


def act(name):
    send(f"/wj/act/{name}", 1)


def cue(name=None):
    """Fires a cue by name or number; without either, the next one."""
    send("/wj/cue/go", *([] if name is None else [name]))


def ask(name, port=9011):
    """Asks for a value; the answer arrives at the OSC In DAT on that port."""
    send(f"/wj/{name}", "?", port)


def subscribe(port, rate=30):
    send("/wj/subscribe", port, rate)
