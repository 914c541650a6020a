"""What qiff runs and on what it depends: no code from files, no shells, licences, secrets."""

import ast
import logging
import re
from importlib.metadata import distribution
from pathlib import Path

import ase.io
import pytest

import qiff
from qiff.cli import main
from qiff.cli.licences import licences

from .laws.examples import POTENTIAL_EXAMPLES

SOURCE = Path(qiff.__file__).parent
MODULES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib"}
CALLS = {
    *("eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("yaml.load", "torch.load"),
}
ARGUMENTS = {"shell", "allow_pickle"}


def dangerous(code: str) -> list[str]:
    """What in a file runs code or shell commands that come from elsewhere, with its line."""
    found = []
    for node in ast.walk(ast.parse(code)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [n for n in names if n.split(".")[0] in MODULES or n in CALLS]
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            names = [called] * (called in CALLS or called.startswith("os.spawn"))
            for keyword in node.keywords:
                is_off = isinstance(keyword.value, ast.Constant) and not keyword.value.value
                names += [f"{keyword.arg}="] * (keyword.arg in ARGUMENTS and not is_off)
        found += [f"{node.lineno}: {name}" for name in names]  # pyright: ignore
    return found


def test_nothing_in_the_package_runs_code_from_files_or_a_shell():
    packages = [SOURCE, SOURCE.parent / "qiff_openmm"]
    paths = [path for package in packages for path in package.rglob("*.py")]
    assert len(paths) > 150
    assert {str(p): found for p in paths if (found := dangerous(p.read_text()))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "def f():\n    from marshal import loads",
        "import cloudpickle.cloudpickle as c",
        "eval(text)",
        "exec(open('f').read())",
        "import os; os.system('ls')",
        "from os import popen",
        "subprocess.run('ls', shell=True)",
        "subprocess.run('ls', shell=flag)",
        "np.load(path, allow_pickle=True)",
    ],
)
def test_control_what_runs_code_is_found(code):
    assert len(dangerous(code)) == 1


@pytest.mark.parametrize("code", ["np.load(path, allow_pickle=False)", "re.compile('a')", "x.eval"])
def test_control_what_does_not_run_code_is_not_found(code):
    assert dangerous(code) == []


# --- licences ---------------------------------------------------------------------------------


def test_every_dependency_is_listed_with_version_and_licence(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--licences"])
    assert exit.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    listed = {line.split()[0]: line.split(maxsplit=2)[1:] for line in lines}
    needed = [text for text in distribution("qiff").requires or [] if "extra ==" not in text]
    assert len(needed) >= 4
    for text in needed:
        name = re.match(r"[\w-]+", text)
        assert name
        assert listed[name[0].lower()][0] == distribution(name[0]).version
    assert "jaxlib" in listed  # needed by what is needed
    assert "pytest-absent" not in listed
    unknown = [name for name, (_, licence) in listed.items() if not licence.strip()]
    assert unknown == []
    assert listed["numpy"][1].startswith("BSD")


def test_control_a_package_without_dependencies_is_alone():
    assert [found.name for found in licences("iniconfig")] == ["iniconfig"]
    assert licences("no-such-package") == []


# --- secrets ----------------------------------------------------------------------------------

TOKEN = "planted-token-4f1d9c"


def leaks(folder: Path, *texts: str) -> list[str]:
    """Where the token is found: files of a folder, or texts."""
    found = [str(p) for p in folder.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    return found + [text for text in texts if TOKEN in text]


@pytest.mark.parametrize("error", ["refused", "of the device", "in a traceback"])
def test_a_token_is_in_no_file_message_or_log(error, tmp_path, monkeypatch, capsys, caplog):
    runtime = pytest.importorskip("qiskit_ibm_runtime")
    atoms = qiff.read(qiff.Source("bundled:water"))[0]
    qiff.save(POTENTIAL_EXAMPLES["triatomic"][0].fresh(), tmp_path / "water.qiff")
    ase.io.write(tmp_path / "water.xyz", atoms)

    class Service:
        def __init__(self, token, **arguments):
            self.token = token
            if error == "refused":
                raise ValueError(f"{token} is not valid")

        def backend(self, name):
            try:
                raise KeyError(f"header with {self.token}")
            except KeyError as cause:
                if error == "in a traceback":
                    raise RuntimeError("no answer") from cause
                raise RuntimeError(f"no answer to {self.token}") from None

    monkeypatch.setattr(runtime, "QiskitRuntimeService", Service)
    monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.DEBUG)
    command = ["predict", "water.qiff", "water.xyz", "out.xyz", "--executor", "runtime:torino"]
    assert main([*command, "--cache", "cache"]) == 2
    out, text = capsys.readouterr()
    assert "QISKIT_IBM_TOKEN" in text
    assert leaks(tmp_path, out, text, caplog.text) == []


def test_control_a_token_in_a_file_or_a_text_is_found(tmp_path):
    (tmp_path / "leaked").write_text(f"token = {TOKEN}")
    assert leaks(tmp_path, f"a {TOKEN}", "b") == [str(tmp_path / "leaked"), f"a {TOKEN}"]
