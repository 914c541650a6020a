"""Options of the command line: made from the fields of records, whose defaults they show."""

import argparse
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, replace
from typing import Any

import pytest

from qiff._checks import InputError, check_known, check_positive
from qiff._records import settings_of
from qiff.atoms.data.source import Source
from qiff.cli import main, parser
from qiff.cli.dynamics import VALIDATION
from qiff.cli.hardware import _elements
from qiff.cli.options import add_settings, settings_from
from qiff.cli.parser import Parser
from qiff.dynamics.settings import Dynamics
from qiff.hardware import Protocol
from qiff.interfaces.ipi import PathIntegral
from qiff.labelling.samplers import Sampling

RECORDS = (Dynamics, Source, Sampling, Protocol)
OTHERS: dict[str, dict[str, Any]] = {
    "qiff validate": VALIDATION,
    "qiff ipi": {setting.name: setting.default for setting in settings_of(PathIntegral)},
}


def leaves(parser: Parser) -> Iterator[Parser]:
    """The parsers of all commands."""
    below = [a for a in parser.fill()._actions if isinstance(a, argparse._SubParsersAction)]
    for action in below:
        for name in action.choices:
            yield from leaves(action.choices[name])
    if not below:
        yield parser


COMMANDS = {leaf.prog: leaf for leaf in leaves(parser())}


def help_of(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The printed help text of each option."""
    monkeypatch.setenv("COLUMNS", "1000")
    text = re.sub(r"\n {10,}", "  ", parser.format_help())  # long options have lines of their own
    found = re.findall(r"^  --([\w-]+)(?: \S+)*(?:  +(.*))?$", text, re.MULTILINE)
    return {option.replace("-", "_"): help for option, help in found}


def wrong_defaults(
    parser: Parser, records: tuple[type, ...], others: dict, monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, tuple[str, str]], int]:
    """Options whose printed default is not that of the records, and how many were looked at."""
    wrong, n_checked = {}, 0
    printed = help_of(parser, monkeypatch)
    for setting in (setting for record in records for setting in settings_of(record)):
        if setting.name in printed and setting.default is not MISSING:
            n_checked += 1
            default = others.get(setting.name, setting.default)
            expected = "" if default is False or default in ("", ()) else str(default)
            found = re.search(r"\(default (.*)\)$", printed[setting.name])
            shown = found[1] if found else ""
            if shown != expected:
                wrong[setting.name] = (shown, expected)
    return wrong, n_checked


# --- every command ----------------------------------------------------------------------------


def test_printed_defaults_are_those_of_the_records(monkeypatch):
    total = 0
    for name, command in COMMANDS.items():
        wrong, n_checked = wrong_defaults(command, RECORDS, OTHERS.get(name, {}), monkeypatch)
        assert not wrong, f"{name} shows, but should show: {wrong}"
        total += n_checked
    assert total > 40


def test_control_a_default_typed_by_hand_is_found(monkeypatch):
    typed = Parser()
    typed.add_argument("--timestep", help="fs (default 0.25)")
    typed.add_argument("--steps", help="number of steps")
    typed.add_argument("--interval", help="steps between frames (default 10)")
    wrong, n_checked = wrong_defaults(typed, RECORDS, {}, monkeypatch)
    assert wrong == {"timestep": ("0.25", "0.5"), "steps": ("", "4000")}
    assert n_checked == 3


def typed_by_hand(parser: Parser) -> list[str]:
    """Help texts that speak of a default which is not the one that the parser uses."""
    texts = [str(action.help) for action in parser._actions]
    return [text for text in texts if "default" in text.replace("(default %(default)s)", "")]


@pytest.mark.parametrize("name", COMMANDS)
def test_no_default_is_typed_in_a_help_text(name):
    assert not typed_by_hand(COMMANDS[name])


def test_control_a_default_in_a_help_text_is_found():
    typed = Parser()
    typed.add_argument("--out", default="a", help="folder (default %(default)s)")
    assert not typed_by_hand(typed)
    typed.add_argument("--to", default="a", help="folder, default a")
    assert typed_by_hand(typed) == ["folder, default a"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained_in_plain_words(name, monkeypatch):
    printed = help_of(COMMANDS[name], monkeypatch)
    for option, text in printed.items():
        assert text, f"--{option} has no help"
        assert not re.search(r"a key of|see `?[A-Z]|comes along|goes? on|as ever", text), text


@pytest.mark.parametrize(
    ("arguments", "record"),
    [
        (["md", "M", "S"], Dynamics()),
        (["validate", "M", "D"], replace(Dynamics(), **VALIDATION)),
        (["data", "make", "lih"], Sampling()),
        (["predict", "M", "I", "O"], Protocol()),
        (["resources", "M"], Protocol()),
        (["predict", "M", "I", "O"], Source("I")),
    ],
)
def test_without_options_a_record_has_its_defaults(arguments, record):
    given = {"path": "I"} if isinstance(record, Source) else {}
    assert settings_from(parser().parse_args(arguments), type(record), **given) == record


def test_options_reach_the_record():
    arguments = "--energy-unit Hartree --elements O,H,H --temperature 10 --seed 3 --shots 7"
    options = parser().parse_args(["md", "M", "S", *arguments.split()])
    assert settings_from(options, Source, path="S") == Source("S", "Hartree", elements=tuple("OHH"))
    assert settings_from(options, Dynamics) == Dynamics(temperature=10.0, seed=3)
    assert settings_from(options, Protocol) == Protocol(shots=7, seed=3)


# --- how options are made ---------------------------------------------------------------------

SHAPES = ("cube", "ball")


@dataclass(frozen=True)
class Box:
    """A box.

    Args:
        edge_length: Å; at least 10 % of
            the cutoff.
        shape: a key of `SHAPES`.
        sizes: of its parts.
        cutoff: Å.
        open: whether it has no lid.
        padded: whether it is padded.
    """

    edge_length: float
    shape: str = "cube"
    sizes: tuple[int, ...] = (1, 2)
    cutoff: float | None = None
    open: bool = False
    padded: bool = True

    def __post_init__(self):
        check_positive("edge_length", self.edge_length)
        check_known("Shape", self.shape, SHAPES)


def box(*arguments: str, **how) -> Box:
    parser = Parser(prog="box")
    add_settings(parser, Box, **how)
    return settings_from(parser.parse_args(arguments), Box)


def test_fields_become_options():
    assert box("--edge-length", "2") == Box(2.0)
    assert box("--edge-length", "2", "--sizes", "3, 4", "--cutoff", "5", "--open") == Box(
        2.0, sizes=(3, 4), cutoff=5.0, open=True
    )
    assert not box("--edge-length", "2", "--no-padded").padded
    assert box("--edge-length", "2", defaults={"sizes": (9,)}).sizes == (9,)


def test_the_help_of_an_option_is_its_docstring(monkeypatch):
    parser = Parser(prog="box")
    add_settings(parser, Box)
    printed = help_of(parser, monkeypatch)
    assert printed["edge_length"] == "Å; at least 10 % of the cutoff"
    assert printed["shape"] == "one of cube, ball (default cube)"
    assert printed["sizes"] == "of its parts (default 1,2)"
    assert printed["cutoff"] == "Å"


def test_some_of_the_fields():
    with pytest.raises(InputError, match=r"unrecognized arguments: --open; see `box --help`"):
        box("--edge-length", "2", "--open", except_=("open",))
    with pytest.raises(InputError, match="unrecognized arguments: --open"):
        box("--edge-length", "2", "--open", only=("edge_length",))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "the following arguments are required: --edge-length; see `box --help`."),
        (("--edge-length", "0"), "`--edge-length` must be positive, but is 0.0."),
        (("--edge-length", "2", "--shape", "bal"), "`--shape`: Shape `bal` is not known; did you"),
        (("--edge-length", "x"), "argument --edge-length: invalid float value: 'x'; see"),
        (
            ("--edge-length", "2", "--sizes", "1,x"),
            "argument --sizes: invalid comma-separated int value: '1,x'; see",
        ),
    ],
)
def test_mistakes_name_the_option(arguments, message):
    with pytest.raises(InputError) as error:
        box(*arguments)
    assert str(error.value).startswith(message)


# --- mistakes in what is typed ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("trian", "Command `trian` is not known; did you mean `train`?"),
        ("data mkae lih", "Command `mkae` is not known; did you mean `make`?"),
        ("", "the following arguments are required: COMMAND; see `qiff --help`."),
        ("md M", "the following arguments are required: START.xyz; see `qiff md --help`."),
        ("md M S --timestp 1", "`qiff md`: option `--timestp` is not known; did you mean"),
        ("data make lih --sed=1", "`qiff data make`: option `--sed` is not known; did you mean"),
        ("info M -x", "`qiff info`: option `-x` is not known; known: --draw, --help, -h."),
        ("info M N", "unexpected argument `N`; see `qiff info --help`."),
        ("md M S --steps 1.5", "argument --steps: invalid int value: '1.5'; see `qiff md --help`."),
        ("md M S --timestep 0", "`--timestep` must be positive, but is 0.0."),
        ("md M S --interval 0", "`--interval` must be at least 1, but is 0."),
        ("md M S --seed -1", "`--seed` must be at least 0 and below 2**63, but is -1."),
        ("validate M D --friction -1", "`--friction` must be positive, but is -1.0."),
        ("data make lih --n-frames -1", "`--n-frames` must be at least 0, but is -1."),
        ("train R --resume --overwrite", "argument --overwrite: not allowed with argument --res"),
    ],
)
def test_mistakes_are_one_line(arguments, message, capsys):
    assert main(arguments.split()) == 2
    out, error = capsys.readouterr()
    assert error.startswith(f"qiff: {message}")
    assert (out, error.count("\n")) == ("", 1)


def test_a_data_set_that_is_there_is_kept(tmp_path, capsys):
    for name in ("lih.xyz", "lih.json"):
        (tmp_path / name).write_text("kept")
        assert main(["data", "make", "lih", "--out", str(tmp_path / "lih.xyz")]) == 2
        wanted = f"qiff: {tmp_path / name}: exists; choose another --out or delete it first.\n"
        assert capsys.readouterr().err == wanted
        (tmp_path / name).unlink()


def test_a_model_that_does_not_name_its_atoms():
    assert _elements({"parts": [{"elements": ["H"]}, {"elements": ["O", "H"]}]}) == ["O", "H"]
    with pytest.raises(InputError, match="The model does not name its atoms: give a --geometry"):
        _elements({"kind": "x", "parts": [{"cutoff": 3.0}]})
