"""The HTML page of a run folder."""

import base64
import html
from pathlib import Path

from .._files import atomic_write
from .records import results
from .tables import summary


def html_page(folder: Path) -> Path:
    """Write `report.html` of a run folder, one file with all pictures in it.

    Raises:
        InputError: the folder holds no finished run.
    """
    lines = summary(folder)
    pictures = [
        f'<img alt="{html.escape(name)}" src="data:image/png;base64,'
        f'{base64.b64encode((folder / name).read_bytes()).decode()}">'
        for name in (
            *("parity.png", "learning.png", "uncertainty.png"),
            *(f"{n}.png" for n in results(folder)[1]),
        )
        if (folder / name).exists()
    ]
    page = PAGE.format(
        title=html.escape(folder.name),
        summary=html.escape("\n".join(lines[:-1])),
        pictures="\n".join(pictures),
        config=html.escape((folder / "config.toml").read_text("utf-8", errors="replace")),
    )
    path = folder / "report.html"
    atomic_write(path, page)
    return path


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>qiff: {title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; }}
img {{ max-width: 100%; max-height: 26rem; }}
pre {{ background: #f4f6f9; padding: 0.8rem; overflow-x: auto; font-size: 13px; }}
</style></head><body>
<h1>{title}</h1>
<pre>{summary}</pre>
{pictures}
<h2>Config</h2>
<pre>{config}</pre>
</body></html>
"""
