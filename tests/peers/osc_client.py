"""An OSC client in a process of its own, on python-osc's message builder.

    python osc_client.py PORT send ADDRESS [VALUE ...]
    python osc_client.py PORT flood ADDRESS LAST [--rate 10000] [--seconds 5]   a fader moved wildly, at last to LAST
    python osc_client.py PORT noise [--count 10000] [--seed 1]                  datagrams that mean nothing

Values that look like numbers are sent as numbers. Each prints how many datagrams it sent.
"""

from __future__ import annotations

import argparse
import math
import random
import socket
import time
from typing import Any

from pythonosc.osc_message_builder import OscMessageBuilder


def message(address: str, *values: Any) -> bytes:
    builder = OscMessageBuilder(address)
    for value in values:
        builder.add_arg(value)
    return builder.build().dgram


def number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def flood(out: socket.socket, address: str, last: float, rate: float, seconds: float) -> int:
    swing = [message(address, 0.5 + 0.5 * math.sin(i / 7)) for i in range(1000)]
    total = int(rate * seconds)
    begin = time.monotonic()
    for i in range(total):
        if i % 10 == 0:
            time.sleep(max(begin + i / rate - time.monotonic(), 0))
        out.send(swing[i % 1000])
    for _ in range(5):  # a receiver that was held up may have had no room for it
        out.send(message(address, last))
        time.sleep(0.1)
    return total + 5


def noise(out: socket.socket, count: int, seed: int) -> int:
    """A quarter each: bytes at random, a message cut off, a message with bytes changed, a bundle that lies."""
    rng = random.Random(seed)
    for i in range(count):
        good = message(rng.choice(["/wj/pad/1", "/wj/prompt", "/wj/cue/go", "/wj/seed", "/wj"]), rng.random(), "x" * 9)
        if i % 4 == 0:
            data = rng.randbytes(rng.randrange(0, 600))
        elif i % 4 == 1:
            data = good[: rng.randrange(len(good))]
        elif i % 4 == 2:
            broken = bytearray(good)
            for _ in range(3):
                # The address stays, so that it gets as far as it can.
                broken[rng.randrange(len(broken) // 2, len(broken))] = rng.randrange(128, 256)
            data = bytes(broken)
        else:
            data = b"#bundle\0" + rng.randbytes(8) + rng.randrange(2**32).to_bytes(4, "big") + good
        out.send(data)
        if i % 20 == 0:
            time.sleep(0.002)
    return count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("send")
    one.add_argument("address")
    one.add_argument("values", nargs="*", type=number)
    many = commands.add_parser("flood")
    many.add_argument("address")
    many.add_argument("last", type=float)
    many.add_argument("--rate", type=float, default=10_000)
    many.add_argument("--seconds", type=float, default=5)
    wild = commands.add_parser("noise")
    wild.add_argument("--count", type=int, default=10_000)
    wild.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("127.0.0.1", args.port))
        if args.command == "send":
            out.send(message(args.address, *args.values))
            print(1)
        elif args.command == "flood":
            print(flood(out, args.address, args.last, args.rate, args.seconds))
        else:
            print(noise(out, args.count, args.seed))


if __name__ == "__main__":
    main()
