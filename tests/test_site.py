"""The documentation site: pages are found, links lead somewhere, names exist, it opens offline."""

import importlib
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from .test_docstrings import NAMES

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [p for p in sorted(DOCS.rglob("*.md")) if "_build" not in p.parts]
TEXTS = [*PAGES, *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG"))]
CHROMIUM = Path("/usr/bin/chromium")


def contents(page: Path) -> set[Path]:
    """The pages that the tables of contents of a page name."""
    found: set[Path] = set()
    for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
        for line in block.splitlines():
            if line.strip() and not line.startswith(":"):
                found |= set(page.parent.glob(f"{line.strip()}.md"))
    return found


def reachable(page: Path) -> set[Path]:
    """A page and all that its tables of contents lead to."""
    return {page}.union(*map(reachable, contents(page)))


def test_every_page_is_in_a_table_of_contents():
    assert set(PAGES) - reachable(DOCS / "index.md") == set()


def prose(page: Path) -> str:
    """A page without its code."""
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def links(page: Path) -> list[str]:
    """Targets of the links and images of a page that stay in the repository."""
    found = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [link for link in found if not re.match(r"\w+:", link)]


def anchors(page: Path) -> set[str]:
    """The names by which the headings of a page are linked to."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    words = (re.sub(r"[^\w\s-]", "", title.lower()) for title in titles)
    return {re.sub(r"\s", "-", title.strip()) for title in words}


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    found = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    assert broken(page) == []


def test_control_pages_and_links_that_do_not_exist_are_found(tmp_path):
    page = tmp_path / "index.md"
    page.write_text(
        "# A title: of words\n[a](other.md) ![b](none.png) [c](#a-title-of-words) [d](#none)\n"
        "[e](https://example.org) `[f](code.md)`\n```{toctree}\n:hidden:\n\nother\n```\n"
    )
    (tmp_path / "other.md").write_text("# Other\n")
    (tmp_path / "lost.md").write_text("# Lost\n")
    assert broken(page) == ["none.png", "#none"]
    assert reachable(page) == {page, tmp_path / "other.md"}


def names_in(page: Path) -> set[str]:
    """Dotted names of ours in the code and roles of a page."""
    return set(re.findall(r"[`{]?`(qiff(?:\.\w+)+)(?:\(\))?`", page.read_text()))


def exists(name: str) -> bool:
    """Whether a dotted name is a module or in one."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_names_on_the_pages_exist():
    names = set().union(*map(names_in, TEXTS))
    assert len(names) > 60
    files = {name for name in names if name.endswith((".py", ".qiff"))}
    assert [name for name in sorted(names - files) if not exists(name)] == []


def test_control_a_name_that_does_not_exist_is_found():
    assert exists("qiff.quantum.gate.spin")
    assert not exists("qiff.quantum.gate.spun")
    assert not exists("qiff.quantum.gates")


def test_the_reference_lists_every_public_name_once():
    text = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    listed = re.findall(r"auto(?:function|class|exception):: (\S+)", text)
    assert len(listed) == len(set(listed))
    assert set(NAMES) - set(listed) == set()


def quickstart() -> list[list[str]]:
    """The commands of the quickstart, each as its words."""
    blocks = re.findall(
        r"^```(?:console)?\n(qiff .*?)^```",
        (DOCS / "quickstart.md").read_text(),
        re.DOTALL | re.MULTILINE,
    )
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_the_quickstart_has_five_commands_for_own_data():
    assert [words[1] for words in quickstart()] == [
        "data",
        "template",
        "train",
        "evaluate",
        "md",
        "report",
    ]


@pytest.mark.slow
def test_the_commands_of_the_quickstart_run_as_they_stand(tmp_path):
    for words in quickstart():
        program, *rest = [sys.executable, "-m", "qiff.cli", *words[1:]]
        target = None
        if ">" in rest:
            target, rest = tmp_path / rest[-1], rest[: rest.index(">")]
        done = subprocess.run([program, *rest], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
        if target:
            target.write_text(done.stdout)
        if words[1] == "train":
            test_line = next(line for line in done.stdout.splitlines() if line.startswith("test "))
            energy, forces = (float(test_line.split()[k]) for k in (2, 4))
            assert energy < 3
            assert forces < 15
    assert (tmp_path / "traj.xyz").exists()
    assert (tmp_path / "runs" / "molecule" / "report.html").exists()


@pytest.mark.slow
def test_the_example_of_the_sharp_bits_runs():
    text = (DOCS / "sharp-bits.md").read_text()
    (block,) = re.findall(r"^ *```python\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    names: dict = {}
    exec(compile(textwrap.dedent(block), "docs/sharp-bits.md", "exec"), names)
    assert names["energies"].shape == (2, 3)
    assert names["energies"].dtype == "float32"


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site, every tutorial executed."""
    pytest.importorskip("myst_nb", reason="needs the extra docs: pip install 'qiff[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(out)]
    environment = os.environ | {"QIFF_DOCS_EXECUTE": "force"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def address(site) -> Iterator[str]:
    """Where the site is served on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format, *args): ...

    server = ThreadingHTTPServer(("localhost", 0), partial(Quiet, directory=str(site)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://localhost:{server.server_port}"
    server.shutdown()


@pytest.mark.slow
def test_every_page_is_built_and_tutorials_have_results(site):
    built = {p.relative_to(site).with_suffix("") for p in site.rglob("*.html")}
    assert {page.relative_to(DOCS).with_suffix("") for page in PAGES} - built == set()
    for page in (DOCS / "tutorials").glob("*.md"):
        html = (site / "tutorials" / f"{page.stem}.html").read_text()
        assert "cell_output" in html
        assert "Traceback" not in html
        assert "━" not in html  # a progress bar, each state of it a line
    assert (site / "benchmarks.html").read_text().count("<table") == 4


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_pages_open_without_errors_and_without_a_network(address, width, scheme):
    playwright = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    if not CHROMIUM.exists():
        pytest.skip(f"needs {CHROMIUM}")
    problems, requests = [], []
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.on("requestfailed", lambda request: problems.append(f"failed: {request.url}"))
        for path in PAGES:
            name = path.relative_to(DOCS).with_suffix(".html").as_posix()
            page.goto(f"{address}/{name}", wait_until="networkidle")
            assert page.evaluate("document.querySelectorAll('mjx-merror').length") == 0, name
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{name} is {wide} px wide"
        browser.close()
    assert problems == []
    assert [url for url in requests if not url.startswith((address, "data:"))] == []
