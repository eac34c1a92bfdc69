"""cuda.bindings.runtime without a GPU: the calls that the wheel has, on POSIX shared memory and the current OpenGL.

Put this folder's grandparent on the path. WJ_CARD is a folder where every process writes what it opened and closed,
one line each in `log`, and where a file `faults` names the calls that fail from now on. The machine has two cards, and
`drawn_by` there says which of them draw ("0" if there is no such file).
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import functools
import inspect
import json
import os
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

FOLDER = Path(os.environ["WJ_CARD"])
VENDOR = json.loads((Path(__file__).parents[3] / "vendors.json").read_text("utf-8"))["cuda"]
BUSES = ["0000:01:00.0", "0000:41:00.0"]

for _name, _value in VENDOR["constants"].items():
    if "." not in _name:
        globals()[_name] = int(_value)
for _enum in sorted({name.partition(".")[0] for name in VENDOR["constants"] if "." in name}):
    members = {n.partition(".")[2]: int(v) for n, v in VENDOR["constants"].items() if n.startswith(_enum + ".")}
    globals()[_enum] = enum.IntEnum(_enum, members)

OK, INVALID, NOT_MAPPED, UNKNOWN = 0, 1, 211, 999
_memory: dict[int, SharedMemory] = {}  # by address
_resources: dict[int, dict[str, Any]] = {}


class Memory(SharedMemory):
    def close(self) -> None:
        with contextlib.suppress(BufferError):  # its address was given away: it goes with the process
            super().close()


class cudaIpcMemHandle_t:  # noqa: N801
    def __init__(self) -> None:
        self._bytes = ctypes.create_string_buffer(64)

    def getPtr(self) -> int:  # noqa: N802
        return ctypes.addressof(self._bytes)


def note(line: str) -> None:
    with (FOLDER / "log").open("a") as log:
        log.write(line + "\n")


def offered(work: Callable[..., Any]) -> Callable[..., Any]:
    """As the wheel has it: that signature, and a tuple of an error and so many values."""
    names, _, values = VENDOR["functions"][work.__name__].partition(" -> ")
    shape = inspect.Signature(
        [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names[1:-1].split(", ") if name]
    )
    count = int(values)

    @functools.wraps(work)
    def call(*args: Any) -> tuple[Any, ...]:
        given = shape.bind(*args).args
        errors = FOLDER / "faults"
        said = UNKNOWN if errors.exists() and work.__name__ in errors.read_text() else work(*given)
        if isinstance(said, tuple) or said == OK:
            said = said if isinstance(said, tuple) else ()
            assert len(said) == count, f"{work.__name__} returns {count} values"
            return OK, *said
        return said, *[None] * count

    return call


def _attach(memory: Memory) -> int:
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory.buf))  # type: ignore[arg-type]
    _memory[address] = memory
    return address


def _within(address: int, size: int) -> bool:
    return any(base <= address and address + size <= base + memory.size for base, memory in _memory.items())


@offered
def cudaGetDeviceCount() -> Any:  # noqa: N802
    return (len(BUSES),)


@offered
def cudaSetDevice(device: int) -> Any:  # noqa: N802
    return OK if 0 <= device < len(BUSES) else INVALID


@offered
def cudaDeviceGetPCIBusId(length: int, device: int) -> Any:  # noqa: N802
    return (BUSES[device].encode().ljust(length, b"\0"),)


@offered
def cudaDeviceGetByPCIBusId(bus: bytes) -> Any:  # noqa: N802
    return (BUSES.index(bus.decode()),)


@offered
def cudaGLGetDevices(_count: int, which: Any) -> Any:  # noqa: N802
    assert which.name == "cudaGLDeviceListAll"
    chosen = FOLDER / "drawn_by"
    devices = [int(n) for n in (chosen.read_text() if chosen.exists() else "0").split()]
    return (len(devices), devices) if devices else 304  # what NVIDIA's runtime says of Mesa's contexts


def cudaGetErrorString(error: int) -> tuple[int, bytes]:  # noqa: N802
    return OK, f"error {int(error)}".encode()


@offered
def cudaMalloc(size: int) -> Any:  # noqa: N802
    note("malloc")
    return (_attach(Memory(create=True, size=size)),)


@offered
def cudaFree(address: int) -> Any:  # noqa: N802
    if address not in _memory:
        return INVALID
    note("free")
    _memory.pop(address).unlink()
    return OK


@offered
def cudaIpcGetMemHandle(address: int) -> Any:  # noqa: N802
    if address not in _memory:
        return INVALID
    handle = cudaIpcMemHandle_t()
    ctypes.memmove(handle.getPtr(), _memory[address].name.encode().ljust(64, b"\0"), 64)
    return (handle,)


@offered
def cudaIpcOpenMemHandle(handle: cudaIpcMemHandle_t, flags: int) -> Any:  # noqa: N802
    assert flags == VENDOR["constants"]["cudaIpcMemLazyEnablePeerAccess"]
    name = ctypes.string_at(handle.getPtr(), 64).rstrip(b"\0").decode()
    note("open")
    try:
        return (_attach(Memory(name)),)
    except FileNotFoundError:
        return INVALID


@offered
def cudaIpcCloseMemHandle(address: int) -> Any:  # noqa: N802
    note("close")
    return OK if _memory.pop(address, None) else INVALID


@offered
def cudaStreamCreateWithFlags(_flags: int) -> Any:  # noqa: N802
    return (7,)


@offered
def cudaStreamSynchronize(_stream: int) -> Any:  # noqa: N802
    return OK


@offered
def cudaMemcpyAsync(to: int, source: int, size: int, kind: Any, _stream: int) -> Any:  # noqa: N802
    if not _within(to, size) or kind.name != "cudaMemcpyDeviceToDevice":
        return INVALID
    ctypes.memmove(to, source, size)
    return OK


@offered
def cudaGraphicsGLRegisterImage(image: int, target: int, flags: int) -> Any:  # noqa: N802
    from OpenGL import GL

    GL.glBindTexture(target, image)
    stored = GL.glGetTexLevelParameteriv(target, 0, GL.GL_TEXTURE_INTERNAL_FORMAT)
    GL.glBindTexture(target, 0)
    if stored != GL.GL_RGBA8 or flags != 2:  # one of the few formats that CUDA takes
        return INVALID
    note("register")
    _resources[len(_resources) + 1] = {"texture": image, "mapped": False}
    return (len(_resources),)


@offered
def cudaGraphicsUnregisterResource(resource: int) -> Any:  # noqa: N802
    note("unregister")
    return OK if _resources[resource].pop("texture", None) else INVALID


@offered
def cudaGraphicsMapResources(count: int, resource: int, _stream: int) -> Any:  # noqa: N802
    if count != 1 or "texture" not in _resources[resource] or _resources[resource]["mapped"]:
        return INVALID
    _resources[resource]["mapped"] = True
    return OK


@offered
def cudaGraphicsUnmapResources(count: int, resource: int, _stream: int) -> Any:  # noqa: N802
    assert count == 1
    was, _resources[resource]["mapped"] = _resources[resource]["mapped"], False
    return OK if was else NOT_MAPPED


@offered
def cudaGraphicsSubResourceGetMappedArray(resource: int, index: int, level: int) -> Any:  # noqa: N802
    return (resource,) if _resources[resource]["mapped"] and index == level == 0 else NOT_MAPPED


@offered
def cudaMemcpy2DToArrayAsync(  # noqa: N802
    array: int, x: int, y: int, source: int, pitch: int, width: int, height: int, kind: Any, _stream: int
) -> Any:
    from OpenGL import GL

    if not _resources[array]["mapped"] or not _within(source, pitch * height) or kind.value != 3:
        return INVALID
    GL.glBindTexture(GL.GL_TEXTURE_2D, _resources[array]["texture"])
    GL.glPixelStorei(GL.GL_UNPACK_ALIGNMENT, 1)
    assert pitch == width
    data = ctypes.string_at(source, pitch * height)
    GL.glTexSubImage2D(GL.GL_TEXTURE_2D, 0, x // 4, y, width // 4, height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE, data)
    GL.glBindTexture(GL.GL_TEXTURE_2D, 0)
    return OK
