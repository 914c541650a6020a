"""Configs: templates, overrides, and errors that name file, line and key."""

import dataclasses
import tomllib

import pytest

from qiff import InputError, read_config
from qiff.run.config import config_text
from qiff.run.templates import RUN_TEMPLATES, template

TEXT = """
output = "runs/x"
[data]
path = "bundled:water"
[model]
kind = "triatomic"
elements = ["O", "H", "H"]
[train]
steps = 10
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "run.toml").write_text(TEXT)
    return tmp_path / "run.toml"


@pytest.mark.parametrize("name", RUN_TEMPLATES)
def test_templates_are_valid_and_every_line_of_them_is_known(name, tmp_path):
    (tmp_path / "run.toml").write_text(template(name))
    run = read_config(tmp_path / "run.toml")
    assert run.output == f"runs/{name}"
    uncommented = template(name).replace("\n# energy", "\nenergy").replace("\n# length", "\nlength")
    (tmp_path / "all.toml").write_text(uncommented)
    read_config(tmp_path / "all.toml")


def test_resolved_config_reads_back_the_same(path):
    run = dataclasses.replace(read_config(path), provenance={"versions": {"qiff": "0"}})
    path.write_text(config_text(run))
    assert read_config(path) == run
    assert tomllib.loads(path.read_text())["train"]["batch_size"] == 64


def test_overrides(path):
    sets = ["train.steps=7", "model.n_layers=2", "output=else", "data.elements=['O','H','H']"]
    run = read_config(path, sets)
    assert (run.train.steps, run.model["n_layers"], run.output) == (7, 2, "else")
    assert run.data.elements == ("O", "H", "H")
    assert read_config(path, ["train.learning_rate=1"]).train.learning_rate == 1.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "steps = 10",
            "step = 10",
            r"run.toml:9: `train.step`: key `step` is not known; did you mean",
        ),
        (
            "steps = 10",
            "steps = 1.5",
            r"run.toml:9: `train.steps` must be int, but is 1.5",
        ),
        ("steps = 10", "steps = true", r"`train.steps` must be int, but is True"),
        ("steps = 10", "steps = 0", r"run.toml:9: `train.steps` must be at least 1"),
        (
            "steps = 10",
            "schedule = 'cosin'",
            r"toml:9: `train.schedule`: Schedule `cosin` .*`cosine`",
        ),
        ("steps = 10", "learning_rate = -1", r"run.toml:9: `train.learning_rate` must be positive"),
        ("steps = 10", "clip = 0", r"run.toml:9: `train.clip` must be positive"),
        (
            "steps = 10",
            "average = 1.5",
            r"toml:9: `train.average` must be at least 0 and below",
        ),
        ("steps = 10", "patience = -1", r"run.toml:9: `train.patience` must be at least 0"),
        (
            "steps = 10",
            "energy_weight = -1",
            r"toml:9: `train.energy_weight` must be at least 0",
        ),
        (
            "steps = 10",
            "energy_weight = 0\nforces_weight = 0",
            r"run.toml: `train`: .* must not all be 0",
        ),
        (
            "steps = 10",
            "stress_weight = -1",
            r"toml:9: `train.stress_weight` must be at least 0",
        ),
        ('path = "bundled:water"', "", r"`data.path` is missing"),
        ('path = "bundled:water"', "path = 3", r"run.toml:4: `data.path` must be str"),
        (
            '"triatomic"',
            '"triatomik"',
            r"run.toml: \[model\] Model kind `triatomik` .* `triatomic`",
        ),
        ('kind = "triatomic"', 'kind = "triatomic"\nlayers = 2', r"\[model\] .*argument `layers`"),
        ('output = "runs/x"', 'outptu = "x"', r"run.toml:2: `outptu`: key `outptu` is not known"),
        ('output = "runs/x"', 'dtype = "float16"', r"run.toml:2: `dtype` `float16` is not known"),
        ("[data]", "[data", r"run.toml: is not valid TOML: .*line 3"),
    ],
)
def test_mistakes_name_their_place(path, old, new, message):
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(InputError, match=message):
        read_config(path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.steps", r"^`--set` needs key=value, but got `train\.steps`\.$"),
        ("=3", r"^`--set` needs key=value, but got `=3`\.$"),
        ("output.x=3", r"^`--set output\.x=3`: `output` is not a table\.$"),
        (
            "train.stepz=3",
            r"^--set: `train\.stepz`: key `stepz` is not known; did you",
        ),
        ("output=' '", r"^--set: `output` must name a folder, but is empty\.$"),
    ],
)
def test_wrong_overrides_are_refused(path, override, message):
    with pytest.raises(InputError, match=message):
        read_config(path, [override])


def test_missing_and_binary_files(tmp_path):
    with pytest.raises(InputError, match=r"absent\.toml: no such file"):
        read_config(tmp_path / "absent.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="is not valid TOML"):
        read_config(tmp_path / "binary.toml")
