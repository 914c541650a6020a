"""The documentation site: Sphinx, pages in MyST Markdown, tutorials executed by MyST-NB."""

import importlib.metadata
import importlib.util
import os
import re
import sys
from pathlib import Path

import qiff

ROOT = Path(__file__).parent.parent
os.environ["QIFF_REPOSITORY"] = str(ROOT)  # for pages that read files of it
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

project = "qiff"
release = importlib.metadata.version("qiff")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "**/.*"]
nitpicky = True
suppress_warnings = ["myst-nb.lexer"]  # of cells that are not executed

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

nb_execution_mode = os.environ.get("QIFF_DOCS_EXECUTE", "force")  # or cache, or off, to edit a page
nb_execution_in_temp = True
nb_execution_timeout = 900  # s, of one cell, on a busy machine
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # with tables
copybutton_exclude = ".linenos, .gp, .go"

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_use_rtype = False
napoleon_use_param = True
napoleon_custom_sections = ["Reference"]
python_maximum_signature_line_length = 80
add_module_names = False
# Other packages have pages of their own, which an offline build cannot look up.
nitpick_ignore_regex = [("py:.*", r"(?!qiff\.).*"), ("py:class", r"qiff\..*")]

html_theme = "furo"
html_title = "qiff"
html_favicon = "_static/icon.svg"
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["qiff.css"]
html_show_sphinx = False
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#5b3fa8", "color-brand-content": "#5b3fa8"},
    "dark_css_variables": {"color-brand-primary": "#b8a4ff", "color-brand-content": "#b8a4ff"},
}


def mathjax() -> Path:
    """The one file of MathJax that sets formulas as SVG and loads nothing else."""
    spec = importlib.util.find_spec("sphinx-mathjax-offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("MathJax is absent: pip install 'qiff[docs]'")
    return Path(spec.origin).parent / "static" / "mathjax" / "tex-svg.js"


mathjax_path = "tex-svg.js"
html_static_path.append(str(mathjax()))


MARKDOWN = re.compile(
    r"^(?P<margin> *)```(?P<language>\w+)\n(?P<code>(?:.*\n)*?) *```$"
    r"|^(?P<indent> *)\$\$(?P<display>[^$]+)\$\$"
    r"|\$(?P<inline>[^`$]+)\$"
    r"|(?<![:`])`(?P<name>[^`\n]+)`(?![`_])",
    re.MULTILINE,
)


CLASSES = {name for name, value in vars(qiff).items() if isinstance(value, type)}


def as_rst(text: str) -> str:
    """Docstrings have the formulas, code and names of Markdown; autodoc reads reStructuredText."""
    return MARKDOWN.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    found = match.groupdict()
    if found["language"]:
        indented = re.sub(r"(?m)^(?=.)", "    ", found["code"])
        return f"{found['margin']}.. code-block:: {found['language']}\n\n{indented}"
    if found["display"]:
        margin = found["indent"]
        return f"\n{margin}.. math:: {' '.join(found['display'].split())}\n\n{margin}"
    if found["inline"]:
        return rf"\ :math:`{' '.join(found['inline'].split())}`\ "
    name = found["name"]
    return f":py:class:`~qiff.{name}`" if name in CLASSES else f"``{name}``"


def process_docstring(app, what, name, obj, options, lines):
    """Before napoleon reads the sections of a docstring."""
    lines[:] = as_rst("\n".join(lines)).splitlines()


def skip_member(app, what, name, obj, skip, options):
    """Fields of named tuples, which the docstring of their class explains."""
    return True if type(obj).__name__ == "_tuplegetter" else None


def setup(app):
    """Connect before the extensions, which are loaded later."""
    app.connect("autodoc-process-docstring", process_docstring, priority=1)
    app.connect("autodoc-skip-member", skip_member)
