"""A report in a browser: no error, no request beyond the file, points and trajectories work."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from qiff.report.comparison import comparison_page
from qiff.report.page import html_page

from .test_page import FRAMES, WORST_FRAME, write_run

pytestmark = pytest.mark.slow
FLAGS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
SCREENS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
PLACE = "n => { const p = plots[0], s = p.spec.series[0]; return [p.px(s.x[n]), p.py(s.y[n])]; }"
"""Where a point is on the screen."""
NEAR = """n => {
  const p = plots[0], s = p.spec.series[0];
  const apart = (i) => Math.hypot(p.px(s.x[i]) - p.px(s.x[n]), p.py(s.y[i]) - p.py(s.y[n]));
  return Array.from(s.x.keys()).filter((i) => apart(i) < 1.5);
}"""
"""Points that a click cannot tell from a point."""


@pytest.fixture(scope="module")
def chromium():
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if not path:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Opens a file; returns the page and a list that grows with its errors and requests."""
    contexts = []

    def open_page(path: Path, width: int = 1280, scheme: str = "light"):
        size = {"width": width, "height": 900}
        contexts.append(chromium.new_context(viewport=size, color_scheme=scheme))
        page, seen = contexts[-1].new_page(), []
        page.on("console", lambda message: seen.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: seen.append(f"error: {error}"))
        page.on("request", lambda request: seen.append(request.url))
        page.goto(path.resolve().as_uri())
        page.wait_for_selector("body[data-ready]", timeout=120_000)
        return page, seen

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    return html_page(write_run(tmp_path_factory.mktemp("runs") / "run & <b>"))


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_a_report_opens_without_an_error_a_request_or_a_broad_page(opened, report, width, scheme):
    page, seen = opened(report, width, scheme)
    assert seen == [report.resolve().as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.evaluate("fetch('http://127.0.0.1:9/').catch(() => console.error('no'))")
    page.wait_for_timeout(500)
    assert len(seen) > 1  # control: requests and errors are seen


def test_a_click_on_a_point_shows_its_structure(opened, report):
    page, _ = opened(report)
    shown = lambda: int(page.get_attribute("#structure", "data-frame"))
    assert shown() == 100 + WORST_FRAME
    page.click("#properties button[data-key=energy]")
    for point in (3, 30):
        x, y = page.evaluate(PLACE, point)
        page.click("#parity", position={"x": x, "y": y})
        assert shown() - 100 in page.evaluate(NEAR, point)
        drawn = page.evaluate("viewers[0].view.selectedAtoms({}).map(a => [a.x, a.y, a.z])")
        wanted = FRAMES[shown() - 100].positions
        np.testing.assert_allclose(drawn, wanted, atol=1e-3)


def test_a_trajectory_plays(opened, report):
    page, seen = opened(report)
    frame = lambda: int(page.get_attribute("#state-0", "data-frame"))
    assert frame() == 0
    page.click("#play-0")
    page.wait_for_function("+document.getElementById('state-0').dataset.frame > 1", timeout=60_000)
    assert "K" in page.text_content("#state-0")
    page.click("#play-0")
    stopped = frame()
    page.wait_for_timeout(500)
    assert frame() == stopped
    assert seen == [report.resolve().as_uri()]


def test_a_comparison_opens_without_an_error(opened, tmp_path):
    runs = [write_run(tmp_path / name, size) for name, size in (("a", 0.05), ("b", 0.1))]
    path = comparison_page(runs, tmp_path / "c.html")
    page, seen = opened(path, 390)
    assert seen == [path.resolve().as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("plots[0].spec.series.map(s => s.name)") == ["a", "b"]
