"""CUDA's memory, shared by two programs and copied into OpenGL's textures: the processor never sees the picture.

Written against cuda-bindings 13.5 (12.6 has the same calls), chapters *Graphics Interoperability* and *Interprocess
Communication* of NVIDIA's CUDA programming guide. Whoever makes pictures owns a `Block`; whoever draws opens it by a
`Lane`. Whatever fails is a `CardError`, after which pictures go through the processor.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from .. import CardError, CardMemory

HANDLE_BYTES = 64  # CUDA_IPC_HANDLE_SIZE
TEXTURE_2D = 0x0DE1  # GL_TEXTURE_2D
FIXES = {35: ": update the driver, or pip install 'cuda-bindings<13'"}  # by cudaError_t
DEVICES = 16  # as many as one OpenGL context can be asked for


def verdict(missing: str, drawn_by: Sequence[str], made_by: str) -> str:
    """Why pictures must go through the processor; empty where they need not.

    missing: why CUDA cannot be used at all. drawn_by: PCI addresses of the CUDA devices that draw the OpenGL context.
    made_by: that of the device that the world runs on.
    """
    if missing:
        return missing
    if not made_by:
        return "the world makes its pictures on the processor"
    if not drawn_by:
        return "OpenGL draws on no CUDA device: run the desktop on the NVIDIA card, with NVIDIA's driver"
    if made_by not in drawn_by:
        return f"the world runs on the card {made_by} and the screen on {', '.join(drawn_by)}: use one for both"
    return ""


def runtime() -> Any:
    """The vendor's module. CardError, with the fix, where it is not."""
    try:
        from cuda.bindings import runtime as found
    except Exception as error:  # a library of its own may be missing, too
        raise CardError(f"cuda-bindings is missing ({error}): pip install cuda-bindings") from None
    return found


def done(said: tuple[Any, ...]) -> Any:
    """What a call of the runtime returned beside its error. CardError where there was one."""
    error, *values = said
    if int(error):
        text = runtime().cudaGetErrorString(error)[1]
        why = text.decode(errors="replace") if isinstance(text, bytes) else text
        raise CardError(f"CUDA failed, {why}{FIXES.get(int(error), '')}")
    return values[0] if len(values) == 1 else tuple(values)


def address(device: int) -> str:
    """A device's place on the PCI bus, by which two programs and OpenGL mean the same one."""
    found: bytes = done(runtime().cudaDeviceGetPCIBusId(32, device))
    return found.split(b"\0")[0].decode()


def drawing() -> list[str]:
    """PCI addresses of the CUDA devices that draw the current OpenGL context."""
    cuda = runtime()
    done(cuda.cudaGetDeviceCount())
    error, count, devices = cuda.cudaGLGetDevices(DEVICES, cuda.cudaGLDeviceList.cudaGLDeviceListAll)
    return [] if int(error) else [address(int(device)) for device in devices[:count]]


class Block:
    """`slots` pictures of up to `size` bytes in the memory of device `device`, written in turn.

    A program that opened it may read a slot until `slots` - 1 further pictures were put.
    """

    def __init__(self, device: int, size: int, slots: int) -> None:
        self._cuda, self._device, self._turn = runtime(), device, -1
        done(self._cuda.cudaSetDevice(device))
        bus = address(device)
        self._base: int | None = int(done(self._cuda.cudaMalloc(size * slots)))
        try:
            # of its own, lest a copy wait for the world's next step
            self._stream = done(self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking))
            handle = done(self._cuda.cudaIpcGetMemHandle(self._base))
        except CardError:
            self.close()
            raise
        self.memory = CardMemory(ctypes.string_at(handle.getPtr(), HANDLE_BYTES), bus, size, slots)

    def put(self, source: int, size: int) -> int:
        """Copy `size` bytes from a device address, all written by now, to the next slot; its number."""
        if self._base is None or size > self.memory.size:
            raise CardError(f"a picture of {size} bytes does not fit in a slot of {self.memory.size}")
        cuda = self._cuda
        self._turn = (self._turn + 1) % self.memory.slots
        to, kind = self._base + self._turn * self.memory.size, cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        done(cuda.cudaSetDevice(self._device))  # which is each thread's own
        done(cuda.cudaMemcpyAsync(to, source, size, kind, self._stream))
        done(cuda.cudaStreamSynchronize(self._stream))
        return self._turn

    def close(self) -> None:
        if self._base is not None:
            self._cuda.cudaFree(self._base)
            self._base = None


class Lane:
    """From another program's `Block` into textures of the current OpenGL context.

    CardError where the world and the context are not on one card.
    """

    def __init__(self, memory: CardMemory) -> None:
        self.memory, self._cuda = memory, runtime()
        self._base: int | None = None
        self._resource: Any = None
        if why := verdict("", drawing(), memory.bus):
            raise CardError(why)
        done(self._cuda.cudaSetDevice(done(self._cuda.cudaDeviceGetByPCIBusId(memory.bus.encode()))))
        handle = self._cuda.cudaIpcMemHandle_t()
        ctypes.memmove(handle.getPtr(), memory.handle, HANDLE_BYTES)
        flags = self._cuda.cudaIpcMemLazyEnablePeerAccess
        self._base = int(done(self._cuda.cudaIpcOpenMemHandle(handle, flags)))

    def register(self, texture: int) -> None:
        """The texture, RGBA8, that `copy` fills. It must be registered anew when it gets other storage."""
        self.release()
        flags = self._cuda.cudaGraphicsRegisterFlags.cudaGraphicsRegisterFlagsWriteDiscard
        self._resource = done(self._cuda.cudaGraphicsGLRegisterImage(texture, TEXTURE_2D, int(flags)))

    def copy(self, slot: int, width: int, height: int) -> None:
        """A slot's picture, RGBA without gaps, into the registered texture, whose size that is."""
        if self._base is None or not 0 <= slot < self.memory.slots or width * height * 4 > self.memory.size:
            raise CardError(f"there is no picture of {width}x{height} in slot {slot}")
        cuda = self._cuda
        done(cuda.cudaGraphicsMapResources(1, self._resource, 0))
        try:
            array = done(cuda.cudaGraphicsSubResourceGetMappedArray(self._resource, 0, 0))
            source, kind = self._base + slot * self.memory.size, cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
            done(cuda.cudaMemcpy2DToArrayAsync(array, 0, 0, source, width * 4, width * 4, height, kind, 0))
            done(cuda.cudaStreamSynchronize(0))  # now, lest the world write there again first
        finally:
            cuda.cudaGraphicsUnmapResources(1, self._resource, 0)

    def release(self) -> None:
        """Before the registered texture is deleted or changed."""
        if self._resource is not None:
            self._cuda.cudaGraphicsUnregisterResource(self._resource)
            self._resource = None

    def close(self) -> None:
        self.release()
        if self._base is not None:
            self._cuda.cudaIpcCloseMemHandle(self._base)
            self._base = None
