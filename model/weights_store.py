"""Weights on this machine: their folder, missing files, downloads from the Hugging Face hub, and checks.

Every file of a source lies at <home>/<repository>/<path>. A manifest beside them, `.worldjockey.json`, lists the files
of each commit. It is written first, so that an interrupted download is known to be incomplete and can be resumed.
"""

from __future__ import annotations

import contextlib
import errno
import fnmatch
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

MANIFEST = ".worldjockey.json"
TENSORS = (".safetensors", ".pt", ".pth")  # the latter two are only ever read as tensors (torch's weights_only)
KINDS = (*TENSORS, ".json", ".txt", ".model", ".jinja")  # nothing else is fetched: no pickles, no programs
BLOCK_BYTES = 1 << 20
COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Source:
    """Files of one repository on the Hugging Face hub.

    revision: a commit, or "main", which is resolved to a commit at the first download. files: paths, `*` for
    any name. sha256: of files whose content was known when this was written; all others are checked against the hub's
    own digests.
    """

    repository: str
    revision: str
    files: tuple[str, ...]
    sha256: Mapping[str, str] = field(default_factory=dict)
    gigabytes: float = 0.0  # in all, as published; 0 where not known


@dataclass(frozen=True)
class File:
    """One file as expected. digest: "sha256:..." or, for small ones, git's "blob:..."; "" if unknown."""

    path: str
    size: int
    digest: str


def home() -> Path:
    """$WORLDJOCKEY_WEIGHTS, or the user's data folder."""
    from platformdirs import user_data_path

    named = os.environ.get("WORLDJOCKEY_WEIGHTS")
    return Path(named).expanduser() if named else user_data_path("worldjockey", False) / "weights"


def missing(source: Source, root: Path) -> list[str]:
    """Files of a source that are missing or incomplete, as <repository>/<path>. Contents are not read."""
    folder = root / source.repository
    listed = _manifest(folder)[1]
    try:
        kept = [p for p, about in listed.items() if _wanted(source, p) and _size(folder / p) == about["size"]]
        gone = [p for p in listed if _wanted(source, p) and p not in kept]
    except (KeyError, TypeError):  # the manifest was edited by hand
        kept, gone = [], []
    known = {*kept, *gone}
    others = [p for p in source.files if not any(fnmatch.fnmatchcase(k, p) for k in known)]
    return [f"{source.repository}/{p}" for p in (*gone, *(p for p in others if not any(folder.glob(p))))]


def commit(source: Source, root: Path) -> str:
    """The commit of a source's files on this machine; "" if unknown."""
    revision, files = _manifest(root / source.repository)
    return revision if COMMIT.fullmatch(revision) and any(_wanted(source, path) for path in files) else ""


def download_bytes(sources: Sequence[Source], root: Path, endpoint: str | None = None) -> tuple[int, int]:
    """Bytes of all files as the hub has them, and of those that `get` would still download. Fetches and writes nothing
    else. Raises OSError as `get` does."""
    endpoint = endpoint or os.environ.get("HF_ENDPOINT")
    whole = left = 0
    for source in sources:
        for file in _ask(source, _revision(source, root), endpoint)[1]:
            folder = root / source.repository
            whole += file.size
            if _size(folder / file.path) != file.size:
                left += file.size - max(_size(_part(folder, file)), 0)
    return whole, left


def get(sources: Sequence[Source], root: Path, report: Callable[[str], None] = lambda line: None,
        endpoint: str | None = None) -> None:  # fmt: skip
    """Download missing and damaged files, with a progress bar for each on stderr.

    Interrupted downloads are resumed. Raises OSError, with the fix, if the hub cannot be reached, the disk is full or a
    file is missing, and ValueError if a file does not have the expected content.
    """
    endpoint = endpoint or os.environ.get("HF_ENDPOINT")
    plans = [(source, *_ask(source, _revision(source, root), endpoint)) for source in sources]
    for source, revision, files in plans:
        _write_manifest(root / source.repository, revision, files)
    wanted = [
        (source, revision, file)
        for source, revision, files in plans
        for file in files
        if not _intact(root / source.repository / file.path, file, report)
    ]
    _check_space(root, sum(file.size - max(_size(_part(root / s.repository, file)), 0) for s, _, file in wanted))
    for source, revision, file in wanted:
        with _full_disk(root):
            _fetch(source.repository, revision, file, root / source.repository, endpoint)


def take(sources: Sequence[Source], root: Path, given: Path, report: Callable[[str], None] = lambda line: None) -> None:
    """Copy the files from a folder instead: one that holds <repository>/<path>, a hub's cache, or one repository's
    files as they are. Raises FileNotFoundError for missing files, else as `get`. report: called with a line for each
    file."""
    found = [(source, *_look(source, given)) for source in sources]
    _check_space(root, sum(_size(folder / p) for source, folder, paths in found for p in paths))
    for source, folder, paths in found:
        here, files = root / source.repository, []
        for path in paths:
            report(f"copying {source.repository}/{path}")
            part = here / f"{path}.part-copy"
            part.parent.mkdir(parents=True, exist_ok=True)
            with _full_disk(root):
                shutil.copyfile(folder / path, part)
            digest = "sha256:" + _hash(part, hashlib.sha256())
            if path in source.sha256 and digest != f"sha256:{source.sha256[path]}":
                part.unlink()
                raise ValueError(
                    f"{folder / path} is not the file of {source.repository} (its sha256 differs): copy it again"
                )
            files.append(File(path, _size(part), digest))
            part.replace(here / path)
        _write_manifest(here, folder.name if folder.parent == _cache(source, given) else source.revision, files)


def _revision(source: Source, root: Path) -> str:
    """The revision to request: a branch is resolved once, and from then on to the same commit."""
    return source.revision if COMMIT.fullmatch(source.revision) else commit(source, root) or source.revision


def _cache(source: Source, given: Path) -> Path:
    """Where huggingface_hub keeps its snapshots, each named by its commit."""
    return given / f"models--{source.repository.replace('/', '--')}" / "snapshots"


def _look(source: Source, given: Path) -> tuple[Path, list[str]]:
    cache = _cache(source, given)
    for folder in (given / source.repository, cache / source.revision, *sorted(cache.glob("*")), given):
        if not folder.is_dir():
            continue
        paths = [
            path
            for path in sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
            if _wanted(source, path)
        ]
        absent = [p for p in source.files if not any(fnmatch.fnmatchcase(path, p) for path in paths)]
        if not absent:
            return folder, paths
    raise FileNotFoundError(
        f"{given} does not contain all files of {source.repository}: it must contain"
        f" {source.repository}/{source.files[0]} and so on"
    )


def _wanted(source: Source, path: str) -> bool:
    """Of other kinds only what a source names itself, such as a .bin that is read as tensors only."""
    if path in source.files:
        return True
    return path.endswith(KINDS) and any(fnmatch.fnmatchcase(path, pattern) for pattern in source.files)


def _ask(source: Source, revision: str, endpoint: str | None) -> tuple[str, list[File]]:
    """The commit, and the source's files as the hub has them at a revision."""
    from huggingface_hub import HfApi

    with _reach(source.repository):
        info = HfApi(endpoint=endpoint).model_info(source.repository, revision=revision, files_metadata=True)
    files = []
    for sibling in info.siblings or []:
        path = sibling.rfilename
        if not _wanted(source, path) or Path(path).is_absolute() or ".." in Path(path).parts:
            continue
        hub_digest = (
            f"sha256:{sibling.lfs.sha256}" if sibling.lfs else f"blob:{sibling.blob_id}" if sibling.blob_id else ""
        )
        digest = f"sha256:{source.sha256[path]}" if path in source.sha256 else hub_digest
        files.append(File(path, sibling.size or 0, digest))
    for pattern in source.files:
        if not any(fnmatch.fnmatchcase(file.path, pattern) for file in files):
            raise FileNotFoundError(f"{source.repository} has no {pattern} at {revision}: update worldjockey")
    return info.sha or revision, files


def _fetch(repository: str, revision: str, file: File, folder: Path, endpoint: str | None) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    part = _part(folder, file)
    part.parent.mkdir(parents=True, exist_ok=True)
    if _size(part) > file.size:
        part.unlink()
    url = hf_hub_url(repository, file.path, revision=revision, endpoint=endpoint)
    headers = {**build_hf_headers(), "Accept-Encoding": "identity"}
    with part.open("ab") as out, _reach(repository):
        http_get(url, out, resume_size=out.tell(), headers=headers, expected_size=file.size,
                 displayed_filename=file.path)  # fmt: skip
    if not _matches(part, file):
        part.unlink()
        raise ValueError(
            f"{repository}/{file.path} did not have the expected content ({file.digest}) and was deleted:"
            " run the command again, and distrust the server if that happens twice"
        )
    part.replace(folder / file.path)


def _part(folder: Path, file: File) -> Path:
    """The file of a partial download; its name depends on the expected content."""
    return folder / f"{file.path}.part-{hashlib.sha256(file.digest.encode()).hexdigest()[:8]}"


def _manifest(folder: Path) -> tuple[str, dict[str, Any]]:
    """The commit, and the manifest's files by path; nothing where there is no valid manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        return str(manifest["revision"]), dict(manifest["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", {}


def _write_manifest(folder: Path, revision: str, files: Sequence[File]) -> None:
    """Add files to the manifest; those that other sources of the same repository brought stay in it."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = _manifest(folder)[1]
    listed |= {file.path: {"size": file.size, "digest": file.digest} for file in files}
    fresh = folder / f"{MANIFEST}.new"
    fresh.write_text(json.dumps({"revision": revision, "files": listed}, indent=1) + "\n", "utf-8")
    fresh.replace(folder / MANIFEST)


def _intact(path: Path, file: File, report: Callable[[str], None]) -> bool:
    if _size(path) != file.size:
        return False
    report(f"checking {path.name}")
    if _matches(path, file):
        return True
    logger.warning("%s is damaged: it is fetched again", path)
    return False


def _matches(path: Path, file: File) -> bool:
    kind, _, digest = file.digest.partition(":")
    if _size(path) != file.size:
        return False
    if not digest:
        return True
    if kind == "blob":  # git's own: sha1 of a header and the content
        return _hash(path, hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)) == digest
    return _hash(path, hashlib.sha256()) == digest


def _hash(path: Path, state: Any) -> str:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            state.update(block)
    found: str = state.hexdigest()
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _check_space(root: Path, needed: int) -> None:
    there = next(p for p in (root, *root.absolute().parents) if p.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise OSError(_too_little(root, f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"))


def _too_little(root: Path, how: str) -> str:
    return f"the disk of {root} is too full ({how}): free some, or set WORLDJOCKEY_WEIGHTS to a folder on a larger one"


@contextlib.contextmanager
def _full_disk(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(_too_little(root, "no space is left; the part that was downloaded is kept")) from error


@contextlib.contextmanager
def _reach(repository: str) -> Iterator[None]:
    """Turns every error of the network into an OSError whose message says what to do."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    try:
        yield
    except GatedRepoError as error:
        raise PermissionError(
            f"{repository} requires that you accept its licence on https://huggingface.co/{repository}: "
            "do that, then run `hf auth login`"
        ) from error
    except HfHubHTTPError as error:
        raise OSError(f"the hub does not deliver {repository} ({str(error).splitlines()[0]})") from error
    except OSError:
        raise
    except Exception as error:
        raise OSError(
            f"{repository} cannot be fetched ({error}): check the connection and run the same command again, which"
            " resumes the download; or copy the files from another machine with --from FOLDER"
        ) from error
