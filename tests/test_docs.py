"""The pages: generated parts are up to date, links lead somewhere, and nothing that one can use is without a page."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from worldjockey.model.evaluate.scorecard.row import Row
from worldjockey.node.cli import docs
from worldjockey.node.show.outputs import BUILTIN_OUTPUTS
from worldjockey.node.show.schema import Show

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *ROOT.glob("*.md"),
    *DOCS.rglob("*.md"),
    *ROOT.glob("examples/*/README.md"),
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
README_LINES = 140


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The headings as GitHub links to them."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    found = []
    for link in LINK.findall(page.read_text("utf-8")):
        if re.match(r"[a-z]+:", link):  # on the network
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name)
def test_generated_parts_are_up_to_date(page: Path) -> None:
    stale = docs.page(page.read_text("utf-8"), DOCS) != page.read_text("utf-8")
    assert not stale, f"{name(page)} is stale: run python -m worldjockey.node.cli.docs"


def test_every_generated_part_has_a_page() -> None:
    marked = {block[1] for page in DOCS.rglob("*.md") for block in docs.BLOCK.findall(page.read_text("utf-8"))}
    assert marked == {*docs.OWN, *docs.FIGURES}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading\n[one](page.md#a-heading) [two](gone.md) [three](#nothing) [four](https://nowhere)\n")
    assert broken(page) == ["gone.md", "#nothing"]


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set[Path](), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop().resolve()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = (link.partition("#")[0] for link in LINK.findall(page.read_text("utf-8")))
        waiting += [page.parent / link for link in links if link and not re.match(r"[a-z]+:", link)]
    assert {name(page) for page in DOCS.rglob("*.md")} <= {name(page) for page in reached}


def test_every_output_kind_has_a_page() -> None:
    listed = (DOCS / "outputs/README.md").read_text("utf-8")
    for kind in BUILTIN_OUTPUTS:
        assert (DOCS / "outputs" / f"{kind}.md").is_file(), f"docs/outputs/{kind}.md is missing"
        assert f"| `{kind}` |" in listed


def test_every_command_has_a_section() -> None:
    commands = docs.command_names()
    assert {"wj play", "wj weights get"} <= set(commands)
    headings = re.findall(r"^## (.+)$", (DOCS / "commands.md").read_text("utf-8"), re.MULTILINE)
    assert headings == commands


def test_the_readme_is_short_and_names_the_test_command() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert len(text.splitlines()) < README_LINES
    assert "python3 wj test" in text


def test_pictures_are_used() -> None:
    used = {(page.parent / link).resolve() for page in PAGES for link in LINK.findall(page.read_text("utf-8"))}
    for picture in DOCS.iterdir():
        if picture.suffix in (".jpg", ".png", ".svg", ".mp4"):
            assert picture.resolve() in used, f"{name(picture)} is on no page"


def examples_of_shows() -> list[tuple[str, str]]:
    pages = {page: re.findall(r"```yaml\n(.*?)```", page.read_text("utf-8"), re.DOTALL) for page in DOCS.rglob("*.md")}
    return [(f"{name(page)} {n}", text) for page, texts in sorted(pages.items()) for n, text in enumerate(texts, 1)]


@pytest.mark.parametrize(("where", "text"), examples_of_shows(), ids=[where for where, _ in examples_of_shows()])
def test_the_shows_on_the_pages_can_be_opened(where: str, text: str) -> None:
    assert Show.parse(text, where)


def test_the_scorecard_is_read_as_the_command_writes_it() -> None:
    share = dict.fromkeys(docs.ATTRIBUTES, 0.96)
    detail = {"share": share, "right": share, "right on true frames": dict.fromkeys(docs.ATTRIBUTES, 0.5)}
    rows = [
        Row("obedience: 1 step", 0.96, 0.9, unit="%", truth=0.5, detail=detail),
        Row("continuity: largest jump", 1.25, 2, at_most=True, unit="x"),
    ]
    made = docs.scorecard({"world": "nano", "rows": {row.name: row.json() for row in rows}})
    assert "| 96% | at least 90% | 50% |" in made
    assert "| 1.25x | at most 2x |  |" in made
    assert "| 1 step | 96% | 96% |" in made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copy = tmp_path / "docs"
    shutil.copytree(DOCS, copy, ignore=shutil.ignore_patterns("*.jpg", "*.mp4", "*.svg"))
    return copy


def test_a_stale_page_fails_the_check_and_is_made_anew(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = folder / "performance.md"
    fresh = page.read_text("utf-8")
    page.write_text(fresh.replace("24.5", "99.5"), "utf-8")
    assert docs.main(["--folder", str(folder), "--check"]) == 1
    assert "performance.md is stale" in capsys.readouterr().out
    assert "99.5" in page.read_text("utf-8")  # the check changes nothing
    assert docs.main(["--folder", str(folder)]) == 0
    assert page.read_text("utf-8") == fresh


def test_new_figures_reach_the_page(folder: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.json"
    run.write_text('{"columns": ["", "WebRTC"], "rows": [["640x360", "12 / 34 ms"]]}')
    words = ["--command", "by hand", "--machine", "a laptop"]
    assert docs.main(["--folder", str(folder), "--add", "browser", str(run), *words]) == 0
    text = (folder / "outputs/web.md").read_text("utf-8")
    assert "| 640x360 | 12 / 34 ms |" in text
    assert "`by hand`" in text
    assert "a laptop" in text


def test_a_part_with_an_unknown_name_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="scorecard"):
        docs.page("<!-- generated: nothing -->\n<!-- end -->", folder)
