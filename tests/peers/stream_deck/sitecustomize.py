"""Stream Decks in files, below the true library: a transport of ours in place of libusb's, with its signatures.

The folder WJ_STREAMDECKS has a file NAME.deck with a product id for each deck that is plugged in. NAME.in has input
reports, one a line, in hexadecimal; NAME.out gets the output reports, and NAME.feature the feature reports. NAME.denied
makes it impossible to open.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

if "WJ_STREAMDECKS" in os.environ:
    from StreamDeck import DeviceManager
    from StreamDeck.Transport.Transport import Transport, TransportError

    FOLDER = Path(os.environ["WJ_STREAMDECKS"])

    class Files(Transport):
        class Device(Transport.Device):
            def __init__(self, path: Path, vid: int, pid: int) -> None:
                self._path, self._vid, self._pid = path, vid, pid
                self._open, self._read = False, 0

            def open(self) -> None:
                if self._path.with_suffix(".denied").exists():
                    raise TransportError("Could not open HID device.")
                self._open = True

            def close(self) -> None:
                self._open = False

            def is_open(self) -> bool:
                return self._open

            def connected(self) -> bool:
                return self._path.exists()

            def path(self) -> str:
                return self._path.stem

            def vendor_id(self) -> int:
                return self._vid

            def product_id(self) -> int:
                return self._pid

            def _log(self, suffix: str, payload: bytes | bytearray) -> int:
                if not self._path.exists():
                    raise TransportError("Failed to write: the deck was unplugged.")
                with self._path.with_suffix(suffix).open("a") as log:
                    log.write(bytes(payload).hex() + "\n")
                return len(payload)

            def write_feature(self, payload: bytes | bytearray) -> int:
                return self._log(".feature", payload)

            def read_feature(self, report_id: int, length: int) -> bytes:
                return bytes(length)

            def write(self, payload: bytes | bytearray) -> int:
                return self._log(".out", payload)

            def read(self, length: int) -> bytes | None:  # type: ignore[override]
                if not self._path.exists():
                    raise TransportError("Failed to read: the deck was unplugged.")
                reports = self._path.with_suffix(".in")
                lines = reports.read_text().split("\n")[:-1] if reports.exists() else []
                if self._read >= len(lines):
                    return None
                self._read += 1
                return bytes.fromhex(lines[self._read - 1]).ljust(length, b"\0")[:length]

        @staticmethod
        def probe() -> None:
            if (FOLDER / "no hidapi").exists():
                raise TransportError("No suitable LibUSB HIDAPI library found on this system.")

        def enumerate(self, vid: int, pid: int) -> Sequence[Transport.Device]:
            found = [path for path in sorted(FOLDER.glob("*.deck")) if int(path.read_text(), 16) == pid]
            return [Files.Device(path, vid, pid) for path in found]

    DeviceManager.LibUSBHIDAPI = Files
