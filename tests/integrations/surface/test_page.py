"""The page, in Debian's Chromium, against a show that pretends (peers/surface_mock.py)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from surface_mock import Mock
from surface_page import SIZES, Pages, check, chromium, drag, middle, pad


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    with chromium() as browser:
        yield Pages(browser)


@pytest.fixture(scope="module")
def served() -> Iterator[Mock]:
    with Mock.serve() as mock:
        yield mock


@pytest.fixture
def mock(served: Mock, wait_for: Callable[..., None]) -> Mock:
    """The show as it is before anything was played. Its preview runs."""
    wait_for(served.left, what="the pages of the test before to be gone, and what they held")
    served.reset(preview="running")
    return served


Opener = Callable[..., Any]


@pytest.fixture
def open_page(pages: Pages, mock: Mock) -> Iterator[Opener]:
    """`open_page("phone")` opens the page. The test fails if it logs an error, or breaks its security policy."""

    def start(size: str = "desk") -> Any:
        page = pages.open(size, mock.url + "?mjpeg")
        page.locator(".top").wait_for()
        return page

    yield start
    assert pages.leave() == []


def last(mock: Mock, name: str) -> Any:
    return next((value for known, value in reversed(mock.sets) if known == name), None)


def test_a_short_show_by_mouse(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    pad(page, 3).click()
    wait_for(lambda: mock.values["pad/3"] == 1, what="a click puts pad 3 up")
    pad(page, 3).click()
    wait_for(lambda: mock.values["pad/3"] == 0, what="another click puts it down")
    for up, low, high in ((15, 0.08, 0.2), (40, 0.4, 0.6), (-40, 0.08, 0.2), (-60, 0, 0)):
        drag(page, ".pad[aria-label^='pad 6:']", 0, -up)
        wait_for(lambda low=low, high=high: low <= mock.values["pad/6"] <= high, what=f"{up} px change what it was")  # type: ignore[misc]
    box = pad(page, 5).bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + box["height"] - 8)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] - 8, steps=4)
    page.mouse.up()
    wait_for(lambda: mock.values["pad/5"] == pytest.approx(0.4, abs=0.03), what="a drag along the bar sets its weight")
    page.get_by_role("button", name="dance", exact=True).click()
    wait_for(lambda: ["act/dance"] in mock.fires)
    drag(page, ".slider[aria-label='energy']", 40, 0)
    wait_for(lambda: mock.values["energy"] > 0.6)
    x, y = middle(page, ".xy >> nth=0")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 50, y - 50, steps=4)
    wait_for(lambda: mock.values["cam/strafe"] > 0.5 and mock.values["cam/forward"] > 0.5)
    page.mouse.up()
    wait_for(
        lambda: mock.values["cam/strafe"] == 0 and mock.values["cam/forward"] == 0, what="the camera stops when let go"
    )
    page.get_by_label("prompt of the program").fill("a volcano at night")
    page.locator(".reading").wait_for()
    page.keyboard.press("Enter")
    wait_for(lambda: mock.values["prompt"] == "a volcano at night")
    assert mock.fires[-1] == ["prompt", "a volcano at night", 1.5]
    page.locator(".transport .go").click()
    wait_for(lambda: mock.fires[-1] == ["cue/go"] and page.locator(".cue.now").inner_text().startswith("2"))
    page.get_by_role("button", name="cue 5: snow falls").dblclick()
    wait_for(lambda: ["cue/go", "snow falls"] in mock.fires)


def test_a_quick_drag_of_a_pad_does_not_flash_its_whole_weight(
    open_page: Opener, mock: Mock, wait_for: Callable[..., None]
) -> None:
    page = open_page()
    width = pad(page, 5).bounding_box()["width"]
    check(page, "quickDrag", ".pad[aria-label^='pad 6:']", 0.5, 0.5, 0, -40)
    check(page, "quickDrag", ".pad[aria-label^='pad 5:']", 0.1, 0.95, width * 0.3, 0)
    wait_for(lambda: mock.values["pad/5"] == pytest.approx(0.4, abs=0.03))
    assert 0.3 < mock.values["pad/6"] < 0.5
    page.wait_for_timeout(400)  # longer than a press until it counts as a longer one
    assert max(value for name, value in mock.sets if name in ("pad/5", "pad/6")) < 0.5


def test_a_long_press_holds_a_pad_only_while_pressed(
    open_page: Opener, mock: Mock, wait_for: Callable[..., None]
) -> None:
    page = open_page()
    page.mouse.move(*middle(page, ".pad[aria-label^='pad 2:']"))
    page.mouse.down()
    wait_for(lambda: mock.values["pad/2"] == 1)
    page.wait_for_timeout(400)
    page.mouse.up()
    wait_for(lambda: mock.values["pad/2"] == 0)


def test_what_is_held_is_let_go_with_the_page(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()

    def down(selector: str, dx: float = 0, dy: float = 0) -> None:
        x, y = middle(page, selector)
        page.mouse.move(x + dx, y + dy)
        page.mouse.down()

    page.get_by_role("button", name="hold", exact=True).first.click()
    down(".pad[aria-label^='pad 2:']")
    wait_for(lambda: mock.values["pad/2"] == 1 and mock.held == {"pad/2": 0}, what="the mode hold")
    page.mouse.up()
    wait_for(lambda: mock.values["pad/2"] == 0 and not mock.held)
    page.get_by_role("button", name="toggle", exact=True).click()
    pad(page, 2).click()
    wait_for(lambda: mock.values["pad/2"] == 1 and not mock.held, what="a tap holds nothing")
    drag(page, ".pad[aria-label^='pad 6:']", 0, -40)
    wait_for(lambda: mock.values["pad/6"] > 0.3 and not mock.held, what="nor does a weight that was dragged")
    page.keyboard.down("ArrowLeft")
    wait_for(lambda: mock.values["cam/yaw"] == -1 and mock.held == {"cam/yaw": 0})
    page.keyboard.up("ArrowLeft")
    wait_for(lambda: mock.values["cam/yaw"] == 0 and not mock.held)
    down(".xy >> nth=0", 30, 0)
    wait_for(lambda: mock.values["cam/strafe"] > 0.2 and mock.held == {"cam/strafe": 0, "cam/forward": 0})
    page.mouse.up()
    wait_for(lambda: mock.values["cam/strafe"] == 0 and not mock.held)
    down(".pad[aria-label^='pad 3:']")
    wait_for(lambda: mock.values["pad/3"] == 1 and mock.held == {"pad/3": 0}, what="a long press")
    page.reload()
    wait_for(lambda: mock.values["pad/3"] == 0 and not mock.held, what="a page that goes lets go")
    assert mock.values["pad/2"] == 1
    page.mouse.up()


GAMEPAD = """buttons => {
  const pad = { index: 0, mapping: 'standard', axes: [0, 0, 0, 0], buttons: Array.from({ length: 17 }, (_, i) => (
    { pressed: buttons.includes(i), value: buttons.includes(i) ? 1 : 0 })) };
  navigator.getGamepads = () => window.gamepad;
  window.gamepad = [pad];
  dispatchEvent(new Event('gamepadconnected'));
}"""


def test_a_gamepad_at_the_browser_plays(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    stick = mock._map("left x stick", "cam/strafe", low=-1.0, kind="gamepad", source={"axis": "left_x"})
    button = mock._map("a", "cue/go", kind="gamepad", source={"button": "a"})
    mock.show["maps"] = [stick, button]
    page = open_page()
    page.evaluate(GAMEPAD, [0])
    wait_for(lambda: mock.fires == [["cue/go"]])
    page.evaluate("window.gamepad[0].axes[0] = -1")
    wait_for(lambda: mock.values["cam/strafe"] == -1)
    page.evaluate("window.gamepad[0].axes[0] = 0.1")
    wait_for(lambda: mock.values["cam/strafe"] == 0, what="a stick at rest is at rest")
    assert mock.fires == [["cue/go"]], "a button that stays down fires once"


def test_blind_prepares_the_preview_and_take_carries_it(
    open_page: Opener, mock: Mock, wait_for: Callable[..., None]
) -> None:
    page = open_page()
    page.get_by_role("group", name="the controls play").get_by_role("button", name="preview").click()
    pad(page, 4).click()
    wait_for(lambda: mock.values.get("preview/pad/4") == 1)
    assert mock.values["pad/4"] == 0
    page.locator(".take .big").click()
    wait_for(lambda: ["preview/take", 2] in mock.fires)
    page.get_by_role("group", name="the controls play").get_by_role("button", name="program").click()
    wait_for(lambda: pad(page, 4).get_attribute("aria-valuenow") == "1")


def test_a_short_show_by_keyboard(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    page.keyboard.press("2")
    wait_for(lambda: mock.values["pad/2"] == 1)
    page.keyboard.press("q")
    wait_for(lambda: mock.values["pad/9"] == 1)
    page.keyboard.press("Space")
    wait_for(lambda: ["cue/go"] in mock.fires)
    page.keyboard.down("ArrowLeft")
    wait_for(lambda: mock.values["cam/yaw"] == -1)
    page.keyboard.up("ArrowLeft")
    wait_for(lambda: mock.values["cam/yaw"] == 0)
    page.keyboard.press("x")
    wait_for(lambda: ["act/dance"] in mock.fires)
    page.keyboard.press("Escape")
    page.get_by_text("Press it again for panic").wait_for()
    assert ["panic"] not in mock.fires

    def again() -> bool:
        page.keyboard.press("Escape")  # one that comes too late only asks once more
        page.wait_for_timeout(200)
        return ["panic"] in mock.fires

    wait_for(again)
    page.keyboard.press("?")
    page.locator(".drawer.keys").wait_for()
    page.keyboard.press("Escape")
    page.locator(".drawer").wait_for(state="detached")
    count = len(mock.fires)
    page.get_by_label("prompt of the program").focus()
    page.keyboard.type("1 x q ")
    assert len(mock.fires) == count, "a text field keeps its letters"
    page.keyboard.press("Escape")
    page.locator(".slider[aria-label='energy']").focus()
    before = mock.values["energy"]
    page.keyboard.press("ArrowUp")
    wait_for(lambda: mock.values["energy"] == pytest.approx(before + 0.01))
    page.keyboard.press("End")
    wait_for(lambda: mock.values["energy"] == 1)


def test_everything_is_reached_by_tab(open_page: Opener) -> None:
    page = open_page()
    wanted, reached = check(page, "reached")
    assert reached == wanted
    assert wanted > 80


def test_fingers_play_at_once(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page("tablet")
    touch = page.context.new_cdp_session(page)
    places = [middle(page, f".pad[aria-label^='pad {n}:']") for n in (1, 4, 10)]
    energy = middle(page, ".slider[aria-label='energy']")
    points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate([*places, energy])]
    for count in range(1, len(points) + 1):
        touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[:count]})
    wait_for(lambda: all(mock.values[f"pad/{n}"] == 1 for n in (1, 4, 10)))
    points[3]["x"] += 60
    touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": points})
    wait_for(lambda: mock.values["energy"] > 0.7, what="a fourth finger moves a fader")
    page.wait_for_timeout(400)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    wait_for(lambda: all(mock.values[f"pad/{n}"] == 0 for n in (1, 4, 10)), what="held pads fall when let go")


def test_a_phone_plays_the_favourites(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    mock.show["favourites"] += [f"a red forest {n}" for n in range(9)]
    page = open_page("phone")
    page.get_by_role("button", name="a red forest 8").tap()
    wait_for(lambda: ["prompt", "a red forest 8", 1.5] in mock.fires, what="the bar with GO covers none of them")
    page.get_by_role("button", name="a calm sea at dawn").tap()
    wait_for(lambda: ["prompt", "a calm sea at dawn", 1.5] in mock.fires)
    page.locator(".favourites .thumb .big").tap()
    wait_for(lambda: ["cue/go"] in mock.fires)
    page.get_by_role("tab", name="pads").last.tap()
    pad(page, 16).tap()
    wait_for(lambda: mock.values["pad/16"] == 1)


def test_the_programs_picture_changes(open_page: Opener, wait_for: Callable[..., None]) -> None:
    page = open_page()
    page.locator(".screen.program canvas").wait_for()
    wait_for(lambda: check(page, "red") > 20, what="a red sunset")
    pad(page, 10).click()
    wait_for(lambda: check(page, "red") < -20, what="a blue night")


def test_two_pages_stay_in_step(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    one, two = open_page(), open_page("tablet")
    drag(one, ".slider[aria-label='speed']", -60, 0)
    wait_for(
        lambda: two.locator(".slider[aria-label='speed']").get_attribute("aria-valuenow") == str(mock.values["speed"])
    )
    assert mock.values["speed"] < 1


def test_a_finger_is_stronger_than_the_echo(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    energy = page.locator(".slider[aria-label='energy']")
    x, y = middle(page, ".slider[aria-label='energy']")
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 20, y)
    wait_for(
        lambda: mock.values["energy"] > 0.5 and energy.get_attribute("aria-valuenow") == str(mock.values["energy"])
    )
    held = energy.get_attribute("aria-valuenow")
    mock.change({"energy": 0.05, "speed": 0.5})
    wait_for(lambda: page.locator(".slider[aria-label='speed']").get_attribute("aria-valuenow") == "0.5")
    assert energy.get_attribute("aria-valuenow") == held
    page.mouse.up()
    wait_for(lambda: energy.get_attribute("aria-valuenow") == "0.05", what="then what the show says")


def test_a_fast_drag_sends_no_more_than_a_value_each_frame(
    open_page: Opener, mock: Mock, wait_for: Callable[..., None]
) -> None:
    page = open_page()
    check(page, "fastDrag", ".slider[aria-label='energy']")
    wait_for(lambda: mock.values["energy"] == pytest.approx(0.5, abs=0.02), what="the last value arrives")
    assert len([name for name, _ in mock.sets if name == "energy"]) <= 3


def test_a_reload_and_a_lost_line_end_in_the_true_state(
    open_page: Opener, mock: Mock, wait_for: Callable[..., None]
) -> None:
    page = open_page()
    pad(page, 7).click()
    wait_for(lambda: mock.values["pad/7"] == 1)
    page.reload()
    wait_for(lambda: pad(page, 7).get_attribute("aria-valuenow") == "1")
    mock.break_line()
    mock.change({"pad/7": 0.25})
    wait_for(lambda: pad(page, 7).get_attribute("aria-valuenow") == "0.25")
    assert page.locator(".notice .bad").count() == 0
    sleep = page.context.new_cdp_session(page)
    sleep.send("Page.setWebLifecycleState", {"state": "frozen"})
    mock.break_line()
    mock.change({"pad/7": 0.5})
    sleep.send("Page.setWebLifecycleState", {"state": "active"})
    wait_for(lambda: pad(page, 7).get_attribute("aria-valuenow") == "0.5", what="the same after sleep")


@pytest.mark.parametrize("size", SIZES)
def test_everything_has_a_name_and_keeps_to_its_place(open_page: Opener, size: str) -> None:
    page = open_page(size)
    tabs = page.locator(".phone nav [role=tab]").all() if size == "phone" else [None]
    for tab in tabs:
        if tab is not None:
            tab.tap()
        assert check(page, "nameless") == []
        assert check(page, "overflowing") == [], tab and tab.inner_text()
    if size != "phone":
        page.get_by_role("tab", name="try").click()
        page.get_by_role("button", name="light").click()
        page.locator(".still img").first.wait_for()
        assert check(page, "nameless") + check(page, "overflowing") == []
        page.get_by_role("button", name="Perform").click()
        assert check(page, "nameless") + check(page, "overflowing") == []
    for drawer in ("parameters", "favourites", "maps", "health", "keys", "modulators", "snapshots", "link"):
        if size == "phone" and page.locator("select.open").count() == 0:
            page.locator(".phone nav [role=tab]").last.tap()
        page.locator("select.open").select_option(drawer)
        page.locator(f".drawer.{drawer}").wait_for()
        assert check(page, "nameless") == []
        assert check(page, "overflowing") == [], drawer
        if drawer == "link":
            page.locator(".qr svg path").nth(3).wait_for()
        page.locator(".drawer > header button").click()


@pytest.mark.parametrize(
    ("width", "height"),
    [(1366, 768), (1366, 650), (1280, 720), (1280, 640), (1024, 600), (900, 700), (820, 1180), (768, 1024),
     (844, 390), (667, 375), (360, 640)],
)  # fmt: skip
def test_pads_and_prompt_are_playable_in_every_window(open_page: Opener, mock: Mock, width: int, height: int) -> None:
    page = open_page()
    page.set_viewport_size({"width": width, "height": height})
    page.locator(".phone" if width < 700 or height < 480 else ".desk").wait_for()
    mock.change({"pad/2": 1})
    page.locator(".share").wait_for()
    assert page.locator("#prompt").bounding_box()["width"] >= 160
    if page.locator(".phone").count():
        lowest = pad(page, 8).bounding_box()
        assert lowest["y"] + lowest["height"] <= page.locator(".thumb").bounding_box()["y"], "no pad is behind GO"
    for tab in page.locator(".phone nav [role=tab]").all() or [None]:
        if tab is not None:
            tab.click()
        assert check(page, "overflowing") + check(page, "overlapping") + check(page, "unplayable") == []
        if tab is None or tab.inner_text() == "pads":
            assert page.locator(".pad").count() == 16


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1366, 768), (1024, 600), (900, 700), (820, 1180)])
def test_go_and_camera_stay_in_reach_beside_a_drawer(open_page: Opener, mock: Mock, width: int, height: int) -> None:
    page = open_page()
    page.set_viewport_size({"width": width, "height": height})
    page.locator("select.open").select_option("health")
    page.locator(".drawer.health").wait_for()
    page.locator(".below-drawer .go").click()
    page.locator(".below-drawer").get_by_role("button", name="back").click()
    assert [fire[0] for fire in mock.fires[-2:]] == ["cue/go", "cue/back"]
    assert page.locator(".below-drawer .xy").count() == 2
    assert page.locator(".below-drawer .xy").first.is_visible() == (height > 800), "a low window has no room for it"
    assert page.locator(".drawer.health").bounding_box()["height"] >= 240
    assert check(page, "overflowing") + check(page, "overlapping") == []


@pytest.mark.parametrize("size", SIZES)
def test_dialogs_fit_the_screen(open_page: Opener, size: str) -> None:
    page = open_page(size)

    def tab(name: str) -> None:
        if size == "phone":
            page.locator(".phone nav").get_by_role("tab", name=name).tap()

    def fits() -> None:
        page.locator("dialog").wait_for()  # it is open
        wide, high, inside = page.locator("dialog").evaluate(
            "d => [d.scrollWidth - d.clientWidth, d.scrollHeight - d.clientHeight, d.getBoundingClientRect().left >= 0]"
        )
        assert (wide <= 0, high <= 0, inside) == (True, True, True)
        page.get_by_role("button", name="Cancel").click()

    tab("cues")
    page.get_by_role("button", name="Store", exact=True).click()
    fits()
    page.get_by_role("button", name="edit cue 2").click(force=True)
    fits()
    tab("pads")
    page.get_by_role("button", name="edit", exact=True).click()
    pad(page, 3).click()
    fits()
    tab("more")
    page.locator("select.open").select_option("save as")
    fits()


def test_a_desk_shows_a_whole_show_without_scrolling(open_page: Opener) -> None:
    page = open_page()
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    for part in (
        ".screen.program",
        ".screen.preview",
        ".take",
        "#prompt",
        ".pads",
        ".acts",
        ".levels",
        ".meters",
        ".waves",
        ".cues",
        ".camera",
        ".tempo",
    ):
        box = page.locator(part).bounding_box()
        assert box["width"] > 40, part
        assert 0 <= box["y"] <= 900 - box["height"], part
        assert 0 <= box["x"] <= 1440 - box["width"], part


def test_a_viewer_sees_and_cannot_play(open_page: Opener, mock: Mock) -> None:
    mock.role = "viewer"
    page = open_page()
    assert page.locator(".prompt-panel, .take, .acts, .levels, .transport, .safety, .camera, .bus").count() == 0
    page.keyboard.press("1")
    page.keyboard.press("Space")
    pad(page, 3).click(force=True)
    page.get_by_label("health").click()
    page.locator(".drawer.health").wait_for()
    pad(page, 3).locator("img").wait_for()
    assert mock.sets == mock.fires == []
    assert {request["do"] for request in mock.requests} == {"stills/pads"}


def test_a_viewers_phone_shows_the_whole_picture_and_the_pads(open_page: Opener, mock: Mock) -> None:
    mock.role = "viewer"
    page = open_page("phone")
    assert page.locator(".screen.program .stage").bounding_box()["width"] == SIZES["phone"][0]
    pad(page, 16).locator("img").wait_for()
    for tab in page.locator(".phone nav [role=tab]").all():
        tab.tap()
        assert check(page, "nameless") + check(page, "overflowing") == []


def test_a_new_parameter_appears_by_itself(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    mock.declare("wind/gusts", "float", "how the wind blows")
    page = open_page()
    page.locator("select.open").select_option("parameters")
    page.get_by_label("find a parameter").fill("wind")
    page.get_by_role("slider", name="wind/gusts").press("End")
    wait_for(lambda: mock.values.get("wind/gusts") == 1)


def test_map_mode_maps_what_is_clicked(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    page.get_by_role("button", name="Map", exact=True).click()
    page.locator(".slider[aria-label='energy']").click()
    wait_for(lambda: [one["to"] for one in mock.asked("map/learn")] == ["energy"])
    assert last(mock, "energy") is None, "in Map mode a click moves nothing"
    page.get_by_text("Now move a MIDI control").wait_for()
    page.keyboard.press("g")
    wait_for(lambda: mock.show["keys"].get("g") == "energy")
    page.get_by_text("G is now energy").wait_for()
    for control, to in (
        (".transport .go", "cue/go"),
        (".transport [aria-label='back']", "cue/back"),
        (".zoom", "cam/zoom"),
        (".xy >> nth=0 >> .axis.x", "cam/strafe"),
        (".take .big", "preview/take"),
    ):
        page.locator(control).click(position={"x": 5, "y": 5})
        wait_for(lambda to=to: mock.asked("map/learn")[-1]["to"] == to, what=f"{to} to be waiting")  # type: ignore[misc]
    assert mock.fires == []
    page.get_by_label("quantise: what cues wait for").click()
    wait_for(lambda: mock.asked("map/learn")[-1]["to"] == "quantise", what="a drop-down is mapped, too")
    page.get_by_text("a key or button chooses none").wait_for()
    mock.show["maps"].append(mock._map("CC 30", "quantise"))
    page.get_by_role("button", name="Cancel").click()
    page.locator("[data-map=quantise][data-sources='CC 30']").wait_for()
    badges = page.locator("[data-sources]").evaluate_all("all => all.map(one => one.dataset.map)")
    assert len(badges) == len(set(badges)), "one badge for a control"
    page.locator(".slider[aria-label='energy'][title='energy: CC 1 · G']").wait_for()
    wait_for(lambda: page.locator(".maps .clash").count() == 2)
    page.get_by_label("curve of CC 1 for energy").select_option("exp")
    wait_for(lambda: mock.show["maps"][0]["curve"] == "exp")
    page.get_by_role("button", name="unmap CC 1 from energy").click()
    page.get_by_role("button", name="Really unmap CC 1 from energy?").click()
    wait_for(lambda: all(one["text"] != "CC 1" for one in mock.show["maps"]))
    page.get_by_role("button", name="Done").click()
    wait_for(lambda: page.locator("[data-map], .map-list").count() == 0)


def test_each_click_maps_one_key(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    page.get_by_role("button", name="Map", exact=True).click()
    pad(page, 1).click()
    page.evaluate(
        "[' ', 'x', 'g'].forEach(key => dispatchEvent(new KeyboardEvent('keydown', { key, code: key, bubbles: true })))"
    )
    page.get_by_text("Space was cue/go and is now pad/1").wait_for()
    assert [one["key"] for one in mock.requests if one["do"] == "key/set"] == [" "]
    wait_for(lambda: mock.fires == [["act/dance"]], what="the second key plays what it always did")
    pad(page, 2).click()
    page.keyboard.press("g")
    wait_for(lambda: mock.show["keys"].get("g") == "pad/2")


def test_controls_leave_a_preview_that_closes(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    buses = page.get_by_role("group", name="the controls play")
    buses.get_by_role("button", name="preview").click()
    pad(page, 4).click()
    wait_for(lambda: mock.values.get("preview/pad/4") == 1)
    mock.status["preview"]["state"] = "off"
    page.get_by_text("The preview is closed: the controls play the program").wait_for()
    pad(page, 5).click()
    wait_for(lambda: mock.values["pad/5"] == 1)
    mock.status["messages"].append(
        {"at": time.time() + 5, "text": "wj: not obeyed: surface 127.0.0.1: energy takes a number"}
    )
    page.get_by_text("Not played: energy takes a number").wait_for()


def test_a_knob_that_waits_for_its_value_is_shown(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    assert page.locator(".ghost").count() == 0
    mock.status["pickup"] = [{"text": "CC 1", "to": "energy", "at": 0.8}]
    energy = page.locator(".slider[aria-label='energy']")
    ghost, knob = energy.locator(".ghost").bounding_box(), energy.bounding_box()
    assert (ghost["x"] - knob["x"]) / knob["width"] == pytest.approx(0.8, abs=0.03)
    page.get_by_role("button", name="Map", exact=True).click()
    row = page.locator(".maps li", has_text="stands at 0.80: turn it to 0.35 to pick up")
    assert row.locator(".source").inner_text() == "CC 1"
    wait_for(lambda: "CC 1 stands at 0.80" in (energy.get_attribute("title") or ""))
    waiting = page.locator("[data-waits]")
    wait_for(lambda: waiting.evaluate_all("all => all.map(one => one.dataset.map)") == ["energy"])
    mock.change({"energy": 0.5})
    page.get_by_text("turn it to 0.50").wait_for()
    mock.status["pickup"] = []
    page.locator(".ghost").wait_for(state="detached")
    wait_for(lambda: page.get_by_text("to pick up").count() == 0)


def test_what_sound_and_modulators_move_is_shown_with_its_value(
    open_page: Opener, mock: Mock, wait_for: Callable[..., None]
) -> None:
    page = open_page()
    wired = page.get_by_label("what sound is wired to").locator("li")
    expected = ["bass energy 0.41", "onset cue/go", "onset mod 3: cam/zoom"]
    wait_for(lambda: [" ".join(text.split()) for text in wired.all_inner_texts()] == expected)
    moved = page.get_by_label("modulator 2 moves energy").locator("output")
    wait_for(lambda: moved.inner_text() == "0.41 · −0.30")
    mock.status["moved"]["energy"] = 0.9
    wired.filter(has_text="0.90").wait_for()


def test_cues_are_stored_edited_and_moved(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    page.get_by_role("button", name="Store", exact=True).click()
    page.get_by_label("name").fill("finale")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="cue 7: finale").wait_for()
    page.locator("dialog").wait_for(state="detached")
    page.get_by_role("button", name="edit cue 7").click(force=True)
    page.get_by_label("follow").fill("8 bars")
    page.get_by_role("textbox", name="time").fill("2 beats")
    page.get_by_role("button", name="Apply").click()
    wait_for(lambda: mock.show["cues"][6]["follow"] == "8 bars" and mock.show["cues"][6]["transition"] == "2 beats")
    assert set(mock.asked("cue/edit")[-1]["fields"]) == {"follow", "transition", "seconds"}, "only what was changed"
    page.locator("dialog").wait_for(state="detached")
    page.get_by_role("button", name="edit cue 7").click(force=True)
    page.get_by_role("button", name="Move up").click()
    wait_for(lambda: mock.show["cues"][5]["name"] == "finale")
    assert page.get_by_role("textbox", name="name").input_value() == "finale", "the dialog stays with the cue"
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Really delete?").wait_for()
    assert mock.asked("cue/delete") == [], "a deletion asks once"
    page.get_by_role("button", name="Really delete?").click()
    wait_for(lambda: all(cue["name"] != "finale" for cue in mock.show["cues"]))
    moved = mock.asked("cue/move", "cue/delete")
    assert [asked["was"] for asked in moved] == ["finale"] * 2, "which another page may have moved"
    page.locator(".save", has_text="Saved").wait_for()


def test_a_save_says_what_becomes_of_it(open_page: Opener, mock: Mock) -> None:
    mock.show["file"], mock.save_waits, mock.save_error = "", True, "the disk is full: free some space"
    page = open_page()
    page.get_by_role("button", name="Save as…").click()
    page.get_by_role("textbox", name="file").fill("tonight")
    page.keyboard.press("Enter")
    page.locator("dialog").get_by_role("button", name="Saving…").wait_for()
    mock.save_waits = False
    page.locator("dialog .error", has_text="the disk is full").wait_for()
    assert page.get_by_role("textbox", name="file").input_value() == "tonight"
    mock.save_error = ""
    page.keyboard.press("Enter")
    page.locator("dialog").wait_for(state="detached")
    assert mock.show["file"] == "/home/vj/tonight.yaml"
    page.locator(".save", has_text="Saved").wait_for()
    mock.save_error = "the stick was pulled out"
    page.get_by_role("button", name="favourite", exact=True).click()
    failed = page.get_by_role("button", name="Not saved: the stick was pulled out")
    failed.click()
    page.locator("dialog .error", has_text="the stick was pulled out").wait_for()
    mock.save_error = ""
    page.get_by_role("button", name="Try again").click()
    failed.wait_for(state="detached")
    page.locator("select.open").select_option("save as")
    page.get_by_role("textbox", name="file").fill("tomorrow")
    page.keyboard.press("Enter")
    page.get_by_text("Saved as tomorrow").wait_for()
    page.locator("select.open").select_option("save as")
    page.get_by_role("textbox", name="file").fill("taken")
    page.keyboard.press("Enter")
    overwrite = page.get_by_role("button", name="Overwrite it")
    overwrite.wait_for()
    page.get_by_role("textbox", name="file").fill("other")
    overwrite.wait_for(state="detached")
    page.get_by_role("textbox", name="file").fill("taken")
    overwrite.click()
    page.get_by_text("Saved as taken").wait_for()
    assert mock.show["file"] == "/home/vj/taken.yaml"


def test_a_prompt_that_is_too_long_stays_in_its_field(
    open_page: Opener, mock: Mock, wait_for: Callable[..., None]
) -> None:
    page = open_page()
    long = "sea " * 5000
    for label in ("prompt of the program", "prompt B"):
        field = page.get_by_label(label)
        field.fill(long)
        field.press("Enter")
        page.get_by_text("Not sent: the prompt is too long").wait_for()
        assert field.input_value() == long
        assert mock.fires == []
        field.fill("a calm sea")
        field.press("Enter")
        wait_for(lambda: mock.fires.pop()[1] == "a calm sea" if mock.fires else False)


def test_the_prompt_line_says_how_much_the_pads_leave(
    open_page: Opener, mock: Mock, wait_for: Callable[..., None]
) -> None:
    page = open_page()
    assert page.locator(".share").count() == 0
    mock.change({"pad/2": 0.25, "pad/3": 0.35})
    page.get_by_text("prompt shows at 40%").wait_for()
    page.get_by_role("button", name="all pads down").click()
    wait_for(lambda: mock.values["pad/2"] == mock.values["pad/3"] == 0)
    page.locator(".share").wait_for(state="detached")


def test_take_waits_for_a_preview_that_runs(open_page: Opener, mock: Mock) -> None:
    mock.status["preview"]["state"] = "opening"
    page = open_page()
    page.locator(".take", has_text="opening…").wait_for()
    for name in ("TAKE", "Cut", "Swap back"):
        assert page.locator(".take .button", has_text=name).is_disabled(), name
    mock.status["preview"]["state"] = "resting"
    page.locator(".take .big:enabled").wait_for()


def test_health_speaks_plainly_and_names_errors_first(open_page: Opener, mock: Mock) -> None:
    mock.status["inputs"]["osc"] = {"address": "127.0.0.1:9000", "listening": True, "superseded": 15, "error": ""}
    mock.status["inputs"]["gamepad"] = {"state": "unavailable", "error": "no permission to read /dev/input"}
    mock.status["world"]["fps"] = 6.0
    for size in SIZES:
        page = open_page(size)
        page.locator(".glance .why").click()
        text = page.locator(".drawer.health").inner_text()
        assert "of 24 frames a second" in text[:200], size
        assert "15 replaced by a newer value" in text
        assert "listening" not in text
        assert text.index("no permission") < text.index("127.0.0.1:9000")


def test_a_time_in_beats_reads_as_it_is_said(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    mock.show["cues"][1].update(follow="8.0 bar", transition="1.0 beat", seconds=None)
    page = open_page()
    row = page.locator(".cue >> nth=1").inner_text()
    assert "8 bars" in row
    assert "1 beat" in row
    page.get_by_role("button", name="edit cue 2").click(force=True)
    page.get_by_role("textbox", name="name").fill("other")
    page.get_by_role("button", name="Apply").click()
    wait_for(lambda: mock.asked("cue/edit"))
    assert set(mock.asked("cue/edit")[-1]["fields"]) == {"name"}


def test_pads_are_edited_and_take_files(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    pads = mock.show["banks"][0]["pads"]
    pad(page, 2).click(button="right")
    page.get_by_label("label").fill("dunes")
    page.get_by_role("button", name="Apply").click()
    wait_for(lambda: pads[1]["label"] == "dunes")
    assert mock.values["pad/2"] == 0
    data = page.evaluate_handle(
        """() => {
            const carried = new DataTransfer();
            carried.items.add(new File(['abc'], 'look.png', { type: 'image/png' }));
            return carried;
        }"""
    )
    pad(page, 3).dispatch_event("drop", {"dataTransfer": data})
    wait_for(lambda: pads[2]["image"] == "media/look.png")
    assert mock.files["look.png"] == b"abc"
    page.get_by_role("button", name="edit", exact=True).click()
    pad(page, 1).click()
    page.get_by_label("to pad").select_option("9")
    page.get_by_role("button", name="Copy", exact=True).last.click()
    page.get_by_role("button", name="Replace 'dawn'?").wait_for()
    assert pads[8]["label"] == "dawn"
    page.get_by_label("to pad").select_option("10")
    page.get_by_label("to pad").select_option("9")
    page.get_by_role("button", name="Replace 'dawn'?").click()
    wait_for(lambda: pads[8]["label"] == "sea")


def test_what_would_be_lost_is_asked_about(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    pads = mock.show["banks"][0]["pads"]
    pad(page, 2).click(button="right")
    page.get_by_label("to pad").select_option("9")
    page.get_by_role("button", name="Move", exact=True).click()
    page.get_by_role("button", name="Swap with 'dawn'?").click()
    wait_for(lambda: (pads[1]["label"], pads[8]["label"]) == ("dawn", "desert"))
    pad(page, 2).click(button="right")
    for field in ("label", "prompt", "picture", "sound", "video"):
        page.locator("dialog").get_by_label(field, exact=True).fill("")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Empty 'dawn'?").wait_for()
    assert pads[1]["label"] == "dawn"
    page.keyboard.press("Enter")
    wait_for(lambda: pads[1]["label"] == "")
    page.get_by_role("button", name="Store", exact=True).click()
    page.get_by_label("name").fill("Snow Falls")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Replace 'snow falls'?").wait_for()
    assert mock.asked("cue/store") == []
    page.get_by_label("name").fill("snow falls again")
    page.keyboard.press("Enter")
    wait_for(lambda: mock.show["cues"][-1]["name"] == "snow falls again", what="no question where nothing is lost")
    page.locator("dialog").wait_for(state="detached")
    page.get_by_role("button", name="edit cue 2").click(force=True)
    page.get_by_role("button", name="Store over").click()
    page.get_by_role("button", name="Replace '").click()
    wait_for(lambda: len(mock.asked("cue/store")) == 2)


def test_two_pages_edit_one_pad(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    pads = mock.show["banks"][0]["pads"]
    desk, tablet = open_page(), open_page("tablet")
    for page in (desk, tablet):
        pad(page, 2).click(button="right")
    desk.get_by_label("label").fill("dunes")
    tablet.locator("dialog").get_by_label("prompt", exact=True).fill("sand at night")
    for page in (desk, tablet):
        page.get_by_role("button", name="Apply").click()
        page.locator("dialog").wait_for(state="detached")
    assert (pads[1]["label"], pads[1]["text"]) == ("dunes", "sand at night")


def test_try_takes_a_still_or_holds_it(open_page: Opener, mock: Mock, wait_for: Callable[..., None]) -> None:
    page = open_page()
    before = mock.values["prompt"]
    page.get_by_role("tab", name="try").click()
    page.get_by_role("button", name="light").click()
    page.locator(".still img").first.wait_for()
    page.mouse.move(*middle(page, ".still[aria-label='light: neon']"))
    page.mouse.down()
    wait_for(lambda: mock.values["prompt"] == f"{before}, neon")
    page.wait_for_timeout(400)
    page.mouse.up()
    wait_for(lambda: mock.values["prompt"] == before, what="a still that was held goes when it is let go")
    page.get_by_role("button", name="light: night").click()
    wait_for(lambda: mock.fires and mock.fires[-1][:2] == ["prompt", f"{before}, night"])
    page.get_by_role("button", name="act", exact=True).click()
    page.get_by_role("button", name="act: jump").click()
    wait_for(lambda: mock.values["act"] == "jump")


def test_what_the_show_refuses_is_said_and_nothing_typed_is_lost(open_page: Opener, mock: Mock) -> None:
    page = open_page()
    pad(page, 2).click(button="right")
    mock.show["banks"][0]["pads"] = []  # so that the edit fails
    page.get_by_label("label").fill("dunes")
    page.get_by_role("button", name="Apply").click()
    page.locator("dialog .error").wait_for()
    assert page.get_by_label("label").input_value() == "dunes"


def test_a_refused_edit_leaves_the_keys_to_the_dialog(
    open_page: Opener, mock: Mock, wait_for: Callable[..., None]
) -> None:
    page = open_page()
    pad(page, 2).click(button="right")
    mock.show["banks"][0]["pads"] = []
    page.get_by_label("label").fill("dunes")
    page.get_by_role("button", name="Apply").focus()
    page.keyboard.press("Enter")
    page.locator("dialog .error").wait_for()
    wait_for(lambda: page.evaluate("document.activeElement.textContent") == "Apply")
    page.keyboard.press("3")
    page.keyboard.press("x")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("x")
    assert page.evaluate("document.activeElement === document.body")
    page.keyboard.press("Escape")
    page.locator("dialog").wait_for(state="detached")
    assert mock.fires == mock.sets == []
    page.keyboard.press("x")
    wait_for(lambda: mock.fires == [["act/dance"]], what="then the keys play again")


def test_perform_mode_edits_nothing(open_page: Opener, wait_for: Callable[..., None]) -> None:
    page = open_page()
    page.get_by_role("button", name="Perform").click()
    for name in ("Store", "edit", "Map", "Save", "Saved"):
        wait_for(lambda name=name: page.get_by_role("button", name=name, exact=True).count() == 0)  # type: ignore[misc]
    wait_for(lambda: page.locator(".cue .edit").count() == 0)
    page.reload()
    page.get_by_role("button", name="Perform", pressed=True).click()
    page.get_by_role("button", name="Store", exact=True).wait_for()


@pytest.mark.parametrize("size", ["desk", "tablet"])
def test_perform_mode_plays_everything(open_page: Opener, size: str) -> None:
    page = open_page(size)
    page.get_by_role("button", name="Perform").click()
    for part in (".words", ".crossfader", ".prompt-b input", "#prompt", ".pads", ".acts", ".levels", ".transport"):
        page.locator(part).first.wait_for()


def test_a_list_of_prompts_closes_when_something_else_opens(open_page: Opener) -> None:
    page = open_page()
    for opener in ("Map", "Perform"):
        page.get_by_role("button", name="Favourites", exact=True).click()
        page.locator(".prompt-list").wait_for()
        page.get_by_role("button", name=opener, exact=True).focus()
        page.locator(".prompt-list").wait_for(state="detached")
    page.get_by_role("button", name="Favourites", exact=True).click()
    page.locator("select.open").select_option("health")
    page.locator(".prompt-list").wait_for(state="detached")
