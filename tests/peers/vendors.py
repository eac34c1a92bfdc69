"""Syphon, Spout and CUDA without a Mac, Windows or a GPU: what the vendors' wheels offer, and fakes of exactly that.

CUDA's fake is `card/cuda/bindings/runtime.py`, which other processes import, too.
`vendors.json` is what `read_syphon`, `read_spout` and `read_cuda` found in the wheels; the tests compare the two
wherever the package registry can be reached. `python vendors.py FOLDER` writes it anew.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

WHEELS = {
    "syphon": ("syphon-python==0.2.0", "macosx_12_0_universal2", "syphon_python-0.2.0-*.whl"),
    "spout": ("SpoutGL==0.1.1", "win_amd64", "spoutgl-0.1.1-*.whl"),
    "cuda": ("cuda-bindings==13.5.0", "manylinux_2_28_x86_64", "cuda_bindings-13.5.0-cp311-*.whl"),
    "pathfinder": ("cuda-pathfinder==1.9.0", "any", "cuda_pathfinder-1.9.0-*.whl"),  # which cuda-bindings imports
}
HEADERS = "syphon/libs/Syphon.framework/Headers/"
# Microsoft's letters for the types that a plain method may take, as pybind11 shows them (Agner Fog, "Calling
# conventions for different C++ compilers", chapter 8).
TYPES = {"_N": "bool", "PEBD": "str", "H": "int", "I": "int", "J": "int", "K": "int", "X": "None"}


def download(name: str, folder: Path) -> Path:
    """The vendor's wheel, from `folder` if it is there already. OSError if no registry has it."""
    requirement, platform, pattern = WHEELS[name]
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "-q", "--retries", "1", "--timeout", "10",
                   "--no-deps", "--only-binary=:all:",
                   "--python-version", "3.11", "--platform", platform, "-d", str(folder), requirement]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode or not list(folder.glob(pattern)):
            raise OSError(f"{requirement} could not be downloaded: {done.stderr.strip()[-300:]}")
    return next(folder.glob(pattern))


def read_syphon(wheel: Path) -> dict[str, dict[str, str]]:
    """Signatures of the Python classes that we use, and the selectors of the framework's OpenGL server."""
    found: dict[str, dict[str, str]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for member, names in (
            ("syphon/server.py", ("BaseSyphonServer", "SyphonOpenGLServer")),
            ("syphon/server_directory.py", ("SyphonServerDirectory",)),
        ):
            tree = ast.parse(archive.read(member))
            for node in tree.body:
                if isinstance(node, ast.ClassDef) and node.name in names:
                    found[node.name] = {
                        f.name: ("property " if _is_property(f) else "") + f"({ast.unparse(f.args)})"
                        for f in node.body
                        if isinstance(f, ast.FunctionDef) and (f.name == "__init__" or not f.name.startswith("_"))
                    }
        header = archive.read(HEADERS + "SyphonOpenGLServer.h").decode()
    methods = re.findall(r"^- \(.*?\)(\w[^;]*);", header, re.M)
    selectors = ["_".join(re.findall(r"(\w+):\(", m)) + "_" if ":" in m else m for m in methods]
    properties = re.findall(r"^@property.*?(\w+);", header, re.M)
    return {**found, "framework": dict.fromkeys(sorted({*selectors, *properties}), "")}


def _is_property(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(d) == "property" or ast.unparse(d).endswith(".setter") for d in function.decorator_list)


def read_spout(wheel: Path) -> dict[str, dict[str, str]]:
    """SpoutSender's plain methods with the types that the extension imports them by.

    pybind11 keeps the names and shapes of its functions as texts, and a Windows extension names what it imports with
    the types of its arguments. No text that names an argument means that none has a name or a default.
    """
    with zipfile.ZipFile(wheel) as archive:
        member = next(n for n in archive.namelist() if n.endswith(".pyd"))
        extension = archive.read(member)
    names = {n.decode() for n in re.findall(rb"[\x00]([A-Za-z]\w{2,40})(?=\x00)", extension)}
    by_lower = {name.lower(): name for name in names if name[0].islower()}
    shapes = {text.decode() for text in re.findall(rb"\(\{%\}[^\x00]*", extension)}
    found = {}
    for method, code in re.findall(rb"\?(\w+)@SpoutSender@@QEAA([\w]+?)(?:@?Z)\x00", extension):
        name = by_lower.get(method.decode().lower())
        parts = re.findall("_N|PEBD|[HIJKX]", code.decode())
        if name is None or "".join(parts) != code.decode():
            continue
        result, *arguments = [TYPES[part] for part in parts]
        arguments = [a for a in arguments if a != "None"]
        if "({" + "}, {".join(["%", *arguments]) + "}) -> " + result in shapes:
            found[name] = f"({', '.join(arguments)}) -> {result}"
    return {"SpoutSender": dict(sorted(found.items()))}


# How our code calls each function, so that the wheel itself says whether it takes these arguments: without a GPU it
# checks and converts them, then returns an error and as many values as it always does.
CUDA_CALLS = """
import json, inspect
from cuda.bindings import runtime as r
kind, handle, resource = r.cudaMemcpyKind.cudaMemcpyDeviceToDevice, r.cudaIpcMemHandle_t(), r.cudaGraphicsResource_t(5)
array, stream = r.cudaArray_t(5), r.cudaStream_t(5)
assert handle.getPtr() and r.CUDA_IPC_HANDLE_SIZE == 64
calls = {
    "cudaGetDeviceCount": (), "cudaSetDevice": (0,), "cudaDeviceGetPCIBusId": (32, 0),
    "cudaDeviceGetByPCIBusId": (b"0000:01:00.0",),
    "cudaGLGetDevices": (16, r.cudaGLDeviceList.cudaGLDeviceListAll), "cudaMalloc": (64,), "cudaFree": (64,),
    "cudaIpcGetMemHandle": (64,), "cudaIpcOpenMemHandle": (handle, r.cudaIpcMemLazyEnablePeerAccess),
    "cudaIpcCloseMemHandle": (64,), "cudaStreamCreateWithFlags": (r.cudaStreamNonBlocking,),
    "cudaStreamSynchronize": (stream,), "cudaMemcpyAsync": (64, 64, 4, kind, stream),
    "cudaGraphicsGLRegisterImage": (1, 0x0DE1, 2), "cudaGraphicsUnregisterResource": (resource,),
    "cudaGraphicsMapResources": (1, resource, 0), "cudaGraphicsUnmapResources": (1, resource, 0),
    "cudaGraphicsSubResourceGetMappedArray": (resource, 0, 0),
    "cudaMemcpy2DToArrayAsync": (array, 0, 0, 64, 16, 16, 4, kind, 0),
}
found = {"functions": {}, "constants": {"CUDA_IPC_HANDLE_SIZE": 64}}
for name, given in calls.items():
    error, *values = getattr(r, name)(*given)
    assert isinstance(error, r.cudaError_t) and int(error), (name, error)
    names = ", ".join(inspect.signature(getattr(r, name)).parameters)
    found["functions"][name] = f"({names}) -> {len(values)}"
for name in ("cudaIpcMemLazyEnablePeerAccess", "cudaStreamNonBlocking"):
    found["constants"][name] = int(getattr(r, name))
for name in ("cudaGLDeviceList.cudaGLDeviceListAll", "cudaMemcpyKind.cudaMemcpyDeviceToDevice",
             "cudaGraphicsRegisterFlags.cudaGraphicsRegisterFlagsWriteDiscard"):
    of, member = name.split(".")
    found["constants"][name] = int(getattr(getattr(r, of), member))
assert isinstance(r.cudaGetErrorString(r.cudaError_t(35))[1], bytes)
print(json.dumps(found))
"""


def read_cuda(wheel: Path) -> dict[str, dict[str, Any]]:
    """Arguments and number of results of the functions that we call, and the constants. OSError where this Python is
    not the wheel's."""
    if sys.version_info[:2] != (3, 11) or not sys.platform.startswith("linux"):
        raise OSError(f"{wheel.name} is for Python 3.11 on Linux")
    with tempfile.TemporaryDirectory() as folder:
        for part in (wheel, download("pathfinder", wheel.parent)):
            with zipfile.ZipFile(part) as archive:
                archive.extractall(folder)
        done = subprocess.run(
            [sys.executable, "-c", CUDA_CALLS], capture_output=True, text=True, timeout=120,
            env={**os.environ, "PYTHONPATH": folder, "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


def checked(name: str) -> dict[str, dict[str, str]]:
    """That part of vendors.json."""
    found: dict[str, dict[str, str]] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))[name]
    return found


def fake_spout(sender: Any) -> types.ModuleType:
    """SpoutGL, whose SpoutSender() has the wheel's methods and takes the wheel's types; `sender` does the work."""

    def method(name: str, signature: str) -> Callable[..., Any]:
        arguments, _, result = signature.partition(" -> ")
        expected = [a for a in arguments.strip("()").split(", ") if a]

        def call(_self: Any, *given: Any) -> Any:
            if [type(g).__name__ for g in given] != expected:
                raise TypeError(f"{name}{given}: incompatible function arguments, supported: {signature}")
            said = getattr(sender, name)(*given)
            assert type(said).__name__.removesuffix("Type") == result
            return said

        return call

    methods = {name: method(name, signature) for name, signature in checked("spout")["SpoutSender"].items()}
    module = types.ModuleType("SpoutGL")
    module.SpoutSender = type("SpoutSender", (), methods)  # type: ignore[attr-defined]
    return module


class _Native:
    """An Objective-C object: `target` does the work, but only what the framework declares can be asked for."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, selector: str) -> Any:
        if selector != "alloc" and selector not in checked("syphon")["framework"]:
            raise AttributeError(f"SyphonOpenGLServer has no selector {selector}")
        return (lambda: self) if selector == "alloc" else getattr(self._target, selector)


def fake_syphon(server: Any) -> types.ModuleType:
    """syphon with the wheel's classes and their signatures; `server` is what they drive."""

    def method(signature: str, work: Callable[..., Any]) -> Any:
        listed: dict[str, Any] = {}
        arguments = ast.parse(f"def f{signature.removeprefix('property ')}: ...")
        for node in ast.walk(arguments):
            if isinstance(node, ast.arg):
                node.annotation = None
        exec(compile(ast.parse(re.sub(r"opengl\.\w+", "0", ast.unparse(arguments))), "signature", "exec"), listed)
        shape = inspect.signature(listed["f"])

        def call(*args: Any, **options: Any) -> Any:
            shape.bind(*args, **options)
            return work(*args[1:], **options)

        return property(call) if signature.startswith("property") else call

    said = checked("syphon")
    native = _Native(server)
    work = {
        "__init__": lambda name, **_: native.initWithName_context_options_(name, None, {}) and None,
        "bind_to_draw_frame": lambda size: native.bindToDrawFrameOfSize_(_size(*size)),
        "unbind_and_publish": native.unbindAndPublish,
        "has_clients": native.hasClients,
        "stop": native.stop,
        "update_run_loop": server.asked,
        "close": lambda: None,
    }  # fmt: skip
    module = types.ModuleType("syphon")
    opengl = said["BaseSyphonServer"] | said["SyphonOpenGLServer"]
    for name, signatures in (("SyphonOpenGLServer", opengl), ("SyphonServerDirectory", said["SyphonServerDirectory"])):
        methods = {n: method(signatures[n], w) for n, w in work.items() if n in signatures}
        if name == "SyphonServerDirectory":
            methods["__init__"] = lambda self: None
        setattr(module, name, type(name, (), methods))
    return module


def stand_in_for_macos(server: Any) -> dict[str, types.ModuleType]:
    """What the wheel's own Python imports on a Mac, so that it runs here and drives `server`."""

    def module(name: str, **members: Any) -> types.ModuleType:
        made = types.ModuleType(name)
        made.__dict__.update(members)
        return made

    def variables(_bundle: Any, into: dict[str, Any], wanted: list[tuple[str, bytes]], **_: Any) -> None:
        into.update({name: name for name, _ in wanted})

    loop = types.SimpleNamespace(runMode_beforeDate_=lambda mode, date: server.asked())
    context = types.SimpleNamespace(CGLContextObj=lambda: "the current context")
    return {
        "objc": module(
            "objc", loadBundle=lambda *_, **__: None, loadBundleVariables=variables, ObjCPointer=type("P", (), {}),
            createOpaquePointerType=lambda *_: None, registerMetaDataForSelector=lambda *_: None,
            lookUpClass=lambda name: _Native(server) if name == "SyphonOpenGLServer" else _Anything(),
        ),
        "Foundation": module("Foundation", NSBundle=_Anything()),
        "Metal": module("Metal", MTLPixelFormatRGBA8Unorm=70, MTLPixelFormatBGRA8Unorm=80),
        "AppKit": module("AppKit", NSOpenGLContext=types.SimpleNamespace(currentContext=lambda: context)),
        "Cocoa": module(
            "Cocoa", NSSize=_size, NSRect=_Anything(), NSImage=object, NSDate=_Anything(),
            NSDefaultRunLoopMode="default", NSRunLoop=types.SimpleNamespace(currentRunLoop=lambda: loop),
        ),
    }  # fmt: skip


def _size(width: float, height: float) -> Any:
    return types.SimpleNamespace(width=width, height=height)


class _Anything:
    def __getattr__(self, name: str) -> Any:
        return lambda *_: _Anything()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    readers: dict[str, Callable[[Path], dict[str, Any]]] = {
        "syphon": read_syphon, "spout": read_spout, "cuda": read_cuda,
    }  # fmt: skip
    found = {name: read(download(name, folder)) for name, read in readers.items()}
    Path(__file__).with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
