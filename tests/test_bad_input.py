"""Mistakes that people make on the command line: one line, exit code 2, and nothing is written."""

import gzip
import os
import shlex
from pathlib import Path

import ase.io
import numpy as np
import pytest

import qiff
from qiff.cli import main

from .laws.examples import POTENTIAL_EXAMPLES
from .test_cli import CONFIG, contents

MISTAKES = """
# commands and options
trian run.toml                                     | did you mean `train`
data                                               | COMMAND
data fetsh rmd17                                   | did you mean `fetch`
train                                              | RUN.toml
train run.toml run.toml                            | unexpected argument `run.toml`
train run.toml --overwite                          | did you mean `--overwrite`
train run.toml --resume --overwrite                | not allowed with
md water.qiff water.xyz --steps many               | invalid int value: 'many'
md water.qiff water.xyz --steps 10.5               | invalid int value: '10.5'
md water.qiff water.xyz --timestep fast            | invalid float value: 'fast'
evaluate water.qiff                                | DATA
evaluate water.qiff ''                             | name a file
template                                           | NAME
template ammonium                                  | did you mean `ammonia`
reproduce le2032                                   | did you mean `le2023`
reproduce le2023 lhi                               | lih
# files and folders
train absent.toml                                  | absent.toml: no such file
train folder                                       | folder: is a folder; name a file
train water.xyz                                    | water.xyz
info absent.qiff                                   | absent.qiff: no such file
info folder                                        | folder
info ethanl                                        | ethanol
info water.xyz                                     | not a file of qiff
info empty                                         | empty
evaluate water.xyz water.qiff                      | not a file of qiff
evaluate water.qiff absent.xyz                     | absent.xyz: no such file or folder
evaluate water.qiff folder                         | folder
evaluate water.qiff water.qiff                     | cannot be read as a structure file
evaluate water.qiff water.xyz@9                    | frame
evaluate water.qiff bundled:watr                   | did you mean `water`
evaluate water.qiff rmd17:ethanl                   | did you mean `ethanol`
evaluate water.qiff text.npz                       | text.npz: `text.npz` is corrupt
evaluate water.qiff text.db                        | text.db: is no database
evaluate water.qiff no_arrays.npz                  | no_arrays.npz
evaluate water.qiff cut.xyz.gz                     | cut.xyz.gz: cannot be read
predict water.qiff water.xyz out.pdb               | out.pdb: the name must end in .xyz
predict water.qiff water.xyz water.xyz             | is the input as well
data convert water.xyz out.npz                     | out.npz: the name must end in .xyz
data convert water.xyz water.xyz                   | is the input as well
data info empty                                    | empty
data fetch rmd71                                   | did you mean `rmd17`
data make watr                                     | did you mean `water`
report folder                                      | folder
report absent                                      | absent
report folder folder --out page.txt                | page.txt: the name must end in .html
info water.qiff --draw a.jpg                       | a.jpg: the name must end in .png
# frames and labels
evaluate water.qiff empty.xyz                      | empty.xyz: has no frames
evaluate water.qiff bare.xyz                       | has no energy label
evaluate water.qiff half.xyz --strict              | frame 1: has no energy label
evaluate water.qiff nan.xyz                        | frame 0: `positions` must be finite
evaluate water.qiff close.xyz                      | frame 0: atoms 1 and 2 are 0
evaluate water.qiff sulphur.xyz                    | frame 0: the model describes H2O
predict water.qiff dimer.xyz out.xyz               | frame 0: the model describes H2O
evaluate water.qiff symbol.xyz                     | symbol.xyz: frame 0: line 3
evaluate water.qiff short.xyz                      | is the file cut short
evaluate water.qiff wide.xyz                       | at most 10000 columns
evaluate water.qiff water.xyz --energy-unit hartre | did you mean `Hartree`
evaluate water.qiff water.xyz --length-unit pm2    | Length unit `pm2` is not known
evaluate water.qiff water.xyz --forces-unit eV     | Forces unit
evaluate water.qiff water.xyz --energy-key U       | has no energy label
# numbers
md water.qiff water.xyz --steps 0                  | steps` must be at least 1
md water.qiff water.xyz --steps -5                 | steps` must be at least 1
md water.qiff water.xyz --timestep -0.5            | `--timestep` must be positive
md water.qiff water.xyz --timestep nan             | `--timestep` must be positive
md water.qiff water.xyz --temperature -300         | `--temperature` must be at least 0
md water.qiff water.xyz --temperature inf          | `--temperature` must be at least 0
md water.qiff water.xyz --interval 0               | `--interval` must be at least 1
md water.qiff water.xyz --seed -1                  | `--seed` must be at least 0
md water.qiff water.xyz --ensemble npt             | cell
md water.qiff water.xyz --ensemble npt --out taken.xyz --overwrite | cell
md water.qiff water.xyz --ensemble nev             | `nev` is not known
md water.qiff water.xyz --resume --out a.xyz       | there is no checkpoint
md water.qiff water.xyz --out taken.xyz            | taken.xyz: exists
md water.qiff water.xyz --out water.json           | water.json: the name must end in .xyz
validate water.qiff water.xyz --steps 0            | steps` must be at least 1
ipi water.qiff water.xyz --beads 0                 | `--beads` must be at least 1
ipi water.qiff water.xyz --out taken               | input.xml: exists
# configs
train run.toml                                     | already holds a run
train new.toml --resume                            | holds no run to resume
train new.toml --set train.stepz=5                 | did you mean `steps`
train new.toml --set steps                         | needs key=value
train new.toml --set train.steps=-1                | --set: `train.steps` must be at least 1
train new.toml --set train.steps=ten               | `train.steps` must be int
train new.toml --set train.learning_rate=0         | `train.learning_rate` must be positive
train new.toml --set train.batch_size=0            | `train.batch_size` must be at least 1
train new.toml --set train.optimiser=adamm         | `adamm` is not known
train new.toml --set data.train=1000               | 1000
train new.toml --set data.path=absent.xyz          | absent.xyz: no such file or folder
train new.toml --set data.path=bare.xyz            | has no energy label
train new.toml --set model.kind=triatomc           | did you mean `triatomic`
train new.toml --set model.n_layers=0              | `n_layers` must be at least 1
train new.toml --set model.n_layers=1000000        | `n_layers` must be at most 1000
train new.toml --set 'model.elements=["O","H"]'    | elements
train new.toml --set 'model.elements=["Xx","H","H"]' | Xx
train new.toml --set dtype=float16                 | float16
train broken.toml                                  | broken.toml
train twice.toml                                   | twice.toml
train latin.toml                                   | latin.toml
sweep new.toml                                     | `--grid` or `--seeds`
sweep new.toml --grid train.stepz=1,2              | did you mean `steps`
sweep new.toml --grid train.steps                  | key=value,value
sweep new.toml --seeds -1                          | `seeds` must be at least 0
sweep new.toml --seeds 2 --by dipole               | `dipole` is not known
learn                                              | name a config
learn absent.toml                                  | absent.toml: no such file
learn absent.xyz --out a                           | absent.xyz
learn water.xyz --level gfn3 --out a               | gfn3
learn water.xyz --level ase:Emt --out a            | ase:Emt
label water.xyz out.xyz --level pbe0               | pbe0
label water.xyz out.npz                            | out.npz: the name must end in .xyz
label water.xyz taken.xyz                          | taken.xyz: exists
# quantum computers
predict water.qiff water.xyz out.xyz --executor aers | did you mean `aer`
predict water.qiff water.xyz out.xyz --dry-run       | needs an --executor
predict water.qiff water.xyz out.xyz --executor shots --shots 0      | `--shots` must be at least
predict water.qiff water.xyz out.xyz --executor shots --mitigate zmi | `zmi` is not known
export water.qiff --geometry water.xyz --to qasm4  | did you mean `qasm3`
export water.qiff --to qasm3                       | --geometry
resources water.qiff --geometry absent.xyz         | absent.xyz: no such file or folder
"""
CASES = [
    tuple(part.strip() for part in line.split(" | "))
    for line in MISTAKES.splitlines()
    if line and not line.startswith("#")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A model, structures, configs and a run, each as good or as bad as its name says."""
    folder = tmp_path_factory.mktemp("mistakes")
    before = Path.cwd()
    os.chdir(folder)
    qiff.save(POTENTIAL_EXAMPLES["triatomic"][0].fresh(), folder / "water.qiff")
    frames = qiff.read(qiff.Source("bundled:water"))[:2]
    bare = [ase.Atoms(atoms.symbols, atoms.positions) for atoms in frames]
    ase.io.write("water.xyz", frames)
    ase.io.write("bare.xyz", bare)
    ase.io.write("half.xyz", [frames[0], bare[1]])
    ase.io.write("dimer.xyz", bare[0] + ase.Atoms(bare[1].symbols, bare[1].positions + 3))
    (folder / "cut.xyz.gz").write_bytes(gzip.compress(Path("water.xyz").read_bytes())[:-20])
    np.savez("no_arrays.npz")
    config = CONFIG.replace("OUTPUT", "run")
    texts = {
        "nan.xyz": "3\nenergy=1\nO nan 0 0\nH 1 0 0\nH 0 1 0\n",
        "close.xyz": "3\nenergy=1\nO 0 0 0\nH 1 0 0\nH 1 0 0\n",
        "sulphur.xyz": "3\nenergy=1\nS 0 0 0\nH 1 0 0\nH 0 1 0\n",
        "symbol.xyz": "1\n\nQq 0 0 0\n",
        "short.xyz": "3\n\nO 0 0 0\nH 0 0 1\n",
        "wide.xyz": "1\nProperties=species:S:1:pos:R:3:forces:R:99999999\nH 0 0 0\n",
        **dict.fromkeys(("empty", "empty.xyz", "run/split.json"), ""),
        **dict.fromkeys(("text.npz", "text.db", "taken.xyz", "taken/input.xml"), "mine"),
        "folder/note.txt": "mine",
        "run.toml": config,
        "run/config.toml": config,
        "new.toml": CONFIG.replace("OUTPUT", "new"),
        "broken.toml": config.replace("[data]", "[data"),
        "twice.toml": config + "steps = 30\n",
    }
    for name, text in texts.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(text)
    Path("latin.toml").write_bytes(config.replace("run", "r\xfcn").encode("latin-1"))
    os.chdir(before)
    return folder


@pytest.mark.parametrize(("line", "told"), CASES, ids=[line for line, _ in CASES])
def test_a_mistake_is_one_line_and_changes_nothing(line, told, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    before = contents(folder), sorted(map(str, folder.rglob("*")))
    assert main(shlex.split(line)) == 2
    out, error = capsys.readouterr()
    assert (out, error.count("\n"), error[:6]) == ("", 1, "qiff: ")
    assert told in error
    assert (contents(folder), sorted(map(str, folder.rglob("*")))) == before


def test_control_without_a_mistake_there_is_no_error(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert main(["data", "info", "water.xyz"]) == 0
    assert main(["info", "water.qiff"]) == 0
    assert capsys.readouterr().err == ""
    assert main(["data", "convert", "water.xyz", "copy.xyz"]) == 0
    assert "copy.xyz" in contents(folder)
    Path("copy.xyz").unlink()
