"""CUDA memory that two processes share, copied into OpenGL textures without a copy through the CPU.

Written against cuda-bindings 13.5 (12.6 has the same calls), chapters *Graphics Interoperability* and *Interprocess
Communication* of NVIDIA's CUDA programming guide. The process that makes frames owns a `Block`; one that draws them
opens it with `SharedFrames`. Every failure is a `CardError`, after which frames go through the CPU.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from .. import CardError, CardMemory

HANDLE_BYTES = 64  # CUDA_IPC_HANDLE_SIZE
TEXTURE_2D = 0x0DE1  # GL_TEXTURE_2D
FIXES = {35: ": update the driver, or pip install 'cuda-bindings<13'"}  # by cudaError_t
MAX_DEVICES = 16  # that draw one OpenGL context


def verdict(missing: str, drawn_by: Sequence[str], made_by: str) -> str:
    """Why frames must go through the CPU; empty if they can stay on the GPU.

    missing: why CUDA cannot be used at all. drawn_by: PCI addresses of the CUDA devices that draw the OpenGL context.
    made_by: PCI address of the device that the world runs on; empty for the CPU.
    """
    if missing:
        return missing
    if not made_by:
        return "the world runs on the CPU"
    if not drawn_by:
        return "OpenGL does not draw on a CUDA device: run the desktop on the NVIDIA card, with NVIDIA's driver"
    if made_by not in drawn_by:
        return f"the world runs on the card {made_by} and the screen on {', '.join(drawn_by)}: use one for both"
    return ""


def runtime() -> Any:
    """The CUDA runtime's bindings. CardError, with the fix, where they are missing."""
    try:
        from cuda.bindings import runtime as found
    except Exception as error:  # one of its own libraries may be missing, too
        raise CardError(f"cuda-bindings is missing ({error}): pip install cuda-bindings") from None
    return found


def checked(result: tuple[Any, ...]) -> Any:
    """The values that a call of the runtime returned after its error code. CardError if the call failed."""
    error, *values = result
    if int(error):
        text = runtime().cudaGetErrorString(error)[1]
        reason = text.decode(errors="replace") if isinstance(text, bytes) else text
        raise CardError(f"CUDA failed, {reason}{FIXES.get(int(error), '')}")
    return values[0] if len(values) == 1 else tuple(values)


def address(device: int) -> str:
    """A device's PCI address, which identifies it in all processes and to OpenGL."""
    found: bytes = checked(runtime().cudaDeviceGetPCIBusId(32, device))
    return found.split(b"\0")[0].decode()


def drawing() -> list[str]:
    """PCI addresses of the CUDA devices that draw the current OpenGL context."""
    cuda = runtime()
    checked(cuda.cudaGetDeviceCount())
    error, count, devices = cuda.cudaGLGetDevices(MAX_DEVICES, cuda.cudaGLDeviceList.cudaGLDeviceListAll)
    return [] if int(error) else [address(int(device)) for device in devices[:count]]


class Block:
    """A ring of `slots` frames of up to `size` bytes each in the memory of device `device`.

    A process that opened it can read a slot until `slots` - 1 further frames were put.
    """

    def __init__(self, device: int, size: int, slots: int) -> None:
        self._cuda, self._device, self._turn = runtime(), device, -1
        checked(self._cuda.cudaSetDevice(device))
        bus = address(device)
        self._base: int | None = int(checked(self._cuda.cudaMalloc(size * slots)))
        try:
            # so that a copy does not wait for the world's next step
            self._stream = checked(self._cuda.cudaStreamCreateWithFlags(self._cuda.cudaStreamNonBlocking))
            handle = checked(self._cuda.cudaIpcGetMemHandle(self._base))
        except CardError:
            self.close()
            raise
        self.memory = CardMemory(ctypes.string_at(handle.getPtr(), HANDLE_BYTES), bus, size, slots)

    def put(self, source: int, size: int) -> int:
        """Copy `size` bytes from a device address, whose writes are complete, to the next slot; returns its number."""
        if self._base is None or size > self.memory.size:
            raise CardError(f"a frame of {size} bytes does not fit in a slot of {self.memory.size}")
        cuda = self._cuda
        self._turn = (self._turn + 1) % self.memory.slots
        to, kind = self._base + self._turn * self.memory.size, cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        checked(cuda.cudaSetDevice(self._device))  # the current device is set for each thread
        checked(cuda.cudaMemcpyAsync(to, source, size, kind, self._stream))
        checked(cuda.cudaStreamSynchronize(self._stream))
        return self._turn

    def close(self) -> None:
        if self._base is not None:
            self._cuda.cudaFree(self._base)
            self._base = None


class SharedFrames:
    """Another process's `Block`, whose frames it copies into a texture of the current OpenGL context.

    CardError if the world and the context are not on the same card.
    """

    def __init__(self, memory: CardMemory) -> None:
        self.memory, self._cuda = memory, runtime()
        self._base: int | None = None
        self._resource: Any = None
        if why := verdict("", drawing(), memory.bus):
            raise CardError(why)
        checked(self._cuda.cudaSetDevice(checked(self._cuda.cudaDeviceGetByPCIBusId(memory.bus.encode()))))
        handle = self._cuda.cudaIpcMemHandle_t()
        ctypes.memmove(handle.getPtr(), memory.handle, HANDLE_BYTES)
        flags = self._cuda.cudaIpcMemLazyEnablePeerAccess
        self._base = int(checked(self._cuda.cudaIpcOpenMemHandle(handle, flags)))

    def register(self, texture: int) -> None:
        """Set the RGBA8 texture that `copy` fills. Register it again when its storage changes."""
        self.release()
        flags = self._cuda.cudaGraphicsRegisterFlags.cudaGraphicsRegisterFlagsWriteDiscard
        self._resource = checked(self._cuda.cudaGraphicsGLRegisterImage(texture, TEXTURE_2D, int(flags)))

    def copy(self, slot: int, width: int, height: int) -> None:
        """Copy a slot's frame, contiguous RGBA, into the registered texture, which has this size in pixels."""
        if self._base is None or not 0 <= slot < self.memory.slots or width * height * 4 > self.memory.size:
            raise CardError(f"there is no frame of {width}x{height} in slot {slot}")
        cuda = self._cuda
        checked(cuda.cudaGraphicsMapResources(1, self._resource, 0))
        try:
            array = checked(cuda.cudaGraphicsSubResourceGetMappedArray(self._resource, 0, 0))
            source, kind = self._base + slot * self.memory.size, cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
            checked(cuda.cudaMemcpy2DToArrayAsync(array, 0, 0, source, width * 4, width * 4, height, kind, 0))
            checked(cuda.cudaStreamSynchronize(0))  # complete the copy before the world can overwrite the slot
        finally:
            cuda.cudaGraphicsUnmapResources(1, self._resource, 0)

    def release(self) -> None:
        """Unregister the texture. Call it before the texture is deleted or changed."""
        if self._resource is not None:
            self._cuda.cudaGraphicsUnregisterResource(self._resource)
            self._resource = None

    def close(self) -> None:
        self.release()
        if self._base is not None:
            self._cuda.cudaIpcCloseMemHandle(self._base)
            self._base = None
