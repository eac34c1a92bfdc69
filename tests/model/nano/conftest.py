from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def _cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def cache(_cache_folder: Path) -> Iterator[Path]:
    """The tests' own cache: a graph is converted for OpenVINO by the first test that needs it. No runtime is chosen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(_cache_folder))
        yield _cache_folder
