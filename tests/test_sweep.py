"""Sweeps over settings: what is checked, trained, compared and shown; runs that cost nothing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from qiff._checks import InputError, RunError
from qiff._files import atomic_write, save_record
from qiff.cli import main
from qiff.report import sweep as report
from qiff.run import tasks
from qiff.run.sweep import read_sweep, sweep

CONFIG = """
output = "runs/lih"
[data]
path = "bundled:lih"
[model]
kind = "diatomic"
elements = ["Li", "H"]
n_layers = 1
"""
LAYERS, RATES = "model.n_layers=1,2,3", "train.learning_rate=0.03,0.1"
VALID = "validation forces MAE (meV/Å)"
TEST = "test forces MAE (meV/Å)"


@pytest.fixture
def config(tmp_path) -> Path:
    (tmp_path / "run.toml").write_text(CONFIG)
    return tmp_path / "run.toml"


@pytest.fixture
def trained(monkeypatch) -> dict[str, bool]:
    """Runs that were trained by name, and whether they were resumed.

    The forces are best with two layers and a rate of 0.03 on the validation part, where the error
    of the first seed is twice that of the second, and with three layers on the test part.
    """
    seen: dict[str, bool] = {}

    def train(run, *, resume, after_validation):
        folder = Path(run.output)
        seen[folder.name] = resume
        atomic_write(folder / "config.toml", "")
        layers = run.model["n_layers"]
        valid = run.train.learning_rate * (1 + abs(layers - 2)) / (1 + run.seed)
        parts = {"valid": valid, "test": 1 / layers}
        errors = {part: {"energy_mae": e, "forces_mae": e} for part, e in parts.items()}
        save_record(folder / "metrics.json", {**errors, "n_weights": 7, "seconds": 1.5})

    monkeypatch.setattr(tasks, "train", train)
    monkeypatch.setattr(report, "_figure", lambda ranked, by: b"png")
    return seen


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "sweep.csv").open() as lines:
        return list(csv.DictReader(lines))


def settings(found: list[dict[str, str]]) -> list[tuple[str, str]]:
    return [(row["model.n_layers"], row["train.learning_rate"]) for row in found]


def shuffled(function, items):
    items = list(items)
    return [function(items[i]) for i in np.random.default_rng(5).permutation(len(items))]


# --- what is checked --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": ["model.n_layer=1,2"]}, "did you mean `n_layers`"),
        ({"grid": ["model.n_layers=2,0"]}, "`n_layers` must be at least 1, but is 0"),
        ({"grid": ["train.learning_rate=0.1,-1"]}, "must be positive, but is -1"),
        ({"grid": ["model.n_layers"]}, "`--grid` needs key=value,value"),
        ({"grid": ["model.n_layers="]}, "`--grid` needs key=value,value"),
        ({"grid": ["model.n_layers=2,2"]}, "a value is empty or given twice"),
        ({"grid": ["model.n_layers=2,"]}, "a value is empty or given twice"),
        ({"grid": [LAYERS, LAYERS]}, "is given twice or cannot vary"),
        ({"grid": ["output=a,b"]}, "is given twice or cannot vary"),
        ({"grid": []}, "a sweep needs `--grid` or `--seeds`"),
        ({"grid": ["seed=1,2"], "n_seeds": 2}, "exclude each other"),
        ({"grid": [], "n_seeds": -1}, "`seeds` must be at least 0"),
        ({"grid": ["data.path=no-such.xyz,bundled:lih"]}, "no-such"),
        ({"grid": [LAYERS], "by": "forcs"}, "did you mean `forces`"),
        ({"grid": ["train.forces_weight=0,1"], "by": "forces"}, "but not all learn it"),
    ],
)
def test_every_combination_is_checked_before_the_first_run(config, trained, options, message):
    with pytest.raises(InputError, match=message):
        sweep(read_sweep(config, [], out=config.parent / "out", **options))
    assert not trained
    assert [path.name for path in config.parent.iterdir()] == ["run.toml"]


def test_lists_are_single_values(config):
    grid = ['model.elements=["Li","H"],["Na","H"]', "train.optimiser=adam,muon"]
    found = read_sweep(config, [], grid)
    kinds = [(c.run.model["elements"][0], c.run.train.optimiser) for c in found.combinations]
    assert kinds == [("Li", "adam"), ("Li", "muon"), ("Na", "adam"), ("Na", "muon")]
    assert len({c.run.output for c in found.combinations}) == 4
    assert found.out == Path("runs/lih-sweep")


def test_forces_decide_where_all_learn_them(config):
    assert read_sweep(config, [], [LAYERS]).by == "forces"
    assert read_sweep(config, [], ["train.forces_weight=0,1"]).by == "energy"


# --- what is trained and shown ----------------------------------------------------------------


@pytest.mark.parametrize("map", [map, shuffled])
def test_settings_are_in_order_of_their_validation_errors(config, trained, map):
    out, shown = config.parent / "out", []
    show = lambda n_done, text: shown.append(n_done)
    table = sweep(read_sweep(config, [], [LAYERS, RATES], out=out), show, map)
    found = rows(out)
    assert settings(found)[0] == ("2", "0.03")
    errors = [float(row[VALID]) for row in found]
    assert errors == sorted(errors)
    assert [bool(row[TEST]) for row in found] == [True] + 5 * [False]
    assert len(trained) == 6
    assert (shown[0], shown[-1]) == (0, 6)
    assert "6 of 6 runs are finished" in table.read_text()
    assert (out / "sweep.png").read_bytes() == b"png"
    sweep(read_sweep(config, [], [LAYERS, RATES], out=out), with_tests=True)
    assert all(row[TEST] for row in rows(out))
    assert settings(rows(out))[0] == ("2", "0.03")  # the lowest test error has three layers


def test_the_figure_is_drawn(tmp_path):
    errors = {"valid": {"forces_mae": 0.1}, "n_weights": 7, "seconds": 1.5}
    members = [report.Member({"n_layers": n}, 0, n, errors) for n in "12"]
    report.write_report(tmp_path, members, "forces")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert "![sweep](sweep.png)" in (tmp_path / "sweep.md").read_text()


def test_errors_are_means_over_seeds(config, trained):
    out = config.parent / "out"
    table = sweep(read_sweep(config, [], [LAYERS], n_seeds=2, out=out)).read_text()
    found = rows(out)
    assert [(row["model.n_layers"], row["seed"]) for row in found[:2]] == [("2", "0"), ("2", "1")]
    assert [row[VALID] for row in found[:2]] == ["50", "25"]
    assert "| 2 | 2 of 2 | 37.5 ± 18 | 37.5 ± 18 | 500 ± 0 | 500 ± 0 | 7 | 3 |  |" in table
    assert len(trained) == 6


def test_a_second_call_repeats_nothing_and_resumes_what_was_begun(config, trained, monkeypatch):
    out, whole = config.parent / "out", config.parent / "whole"
    grid = [LAYERS, RATES]
    sweep(read_sweep(config, [], grid, out=whole))
    train, begun = tasks.train, []

    def killed(run, **arguments):
        if len(begun) == 2:
            atomic_write(Path(run.output) / "config.toml", "")
            raise KeyboardInterrupt
        begun.append(Path(run.output).name)
        train(run, **arguments)

    monkeypatch.setattr(tasks, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(read_sweep(config, [], grid, out=out))
    assert [row["state"] for row in rows(out)].count("finished") == 2
    assert not any(row[TEST] for row in rows(out))  # nothing is chosen yet
    monkeypatch.setattr(tasks, "train", train)
    trained.clear()
    sweep(read_sweep(config, [], grid, out=out))
    assert len(trained) == 4
    assert [name for name, resumed in trained.items() if resumed] == [min(trained)]
    for name in ("sweep.csv", "sweep.md", "sweep.json"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(
    ("overrides", "grid", "key"),
    [
        ([], ["model.n_layers=1,2"], "grid.model.n_layers"),
        ([], [LAYERS, RATES], "grid.train.learning_rate"),
        (["train.steps=7"], [LAYERS], "config.train.steps"),
    ],
)
def test_another_sweep_in_the_folder_is_refused(config, trained, overrides, grid, key):
    out = config.parent / "out"
    sweep(read_sweep(config, [], [LAYERS], out=out))
    before = json.loads((out / "sweep.json").read_text())
    with pytest.raises(InputError, match=f"holds another sweep, `{key}` differs"):
        sweep(read_sweep(config, overrides, grid, out=out))
    assert json.loads((out / "sweep.json").read_text()) == before
    assert len(trained) == 3


def test_a_run_that_fails_is_last_and_stops_no_other(config, trained, monkeypatch):
    train, out = tasks.train, config.parent / "out"

    def unstable(run, **arguments):
        if run.model["n_layers"] == 2:
            raise RunError("the loss is nan.")
        train(run, **arguments)

    monkeypatch.setattr(tasks, "train", unstable)
    table = sweep(read_sweep(config, [], [LAYERS, RATES], out=out)).read_text()
    found = rows(out)
    assert [row["state"] for row in found] == 4 * ["finished"] + 2 * ["failed: the loss is nan."]
    assert [bool(row[TEST]) for row in found] == [True] + 5 * [False]
    assert "4 of 6 runs are finished" in table
    assert "| 0 of 1 |  |  |  |  |  | 0 | the loss is nan. |" in table


def test_data_that_do_not_fit_stop_the_sweep_with_the_name_of_the_run(config, trained, monkeypatch):
    def refuse(run, **arguments):
        raise InputError("no forces.")

    monkeypatch.setattr(tasks, "train", refuse)
    with pytest.raises(InputError, match=r"001-n_layers-1: no forces\."):
        sweep(read_sweep(config, [], [LAYERS], out=config.parent / "out"))


def test_a_run_that_was_written_elsewhere_is_an_error(config, trained, monkeypatch):
    monkeypatch.setattr(tasks, "train", lambda run, **arguments: None)
    monkeypatch.setattr(tasks, "PATIENCE", 0.0)
    with pytest.raises(RunError, match="a file system that all machines share"):
        sweep(read_sweep(config, [], [LAYERS], out=config.parent / "out"))


def test_the_command_prints_the_table(config, trained, capsys):
    out = config.parent / "out"
    options = ["--grid", LAYERS, "--set", "train.steps=5", "--out", str(out)]
    assert main(["sweep", str(config), *options]) == 0
    printed = capsys.readouterr().out
    assert "3 of 3 runs are finished" in printed
    assert f"table: {out / 'sweep.md'}" in printed
    assert main(["sweep", str(config), "--grid", "model.n_layers=0", "--out", str(out)]) == 2
    assert "must be at least 1, but is 0" in capsys.readouterr().err
