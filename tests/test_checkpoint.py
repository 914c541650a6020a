"""Model files: numpy alone reads them, nothing in them runs, and every defect is named."""

import io
import json
import pickle
import time
import zipfile

import ase.build
import ase.optimize
import jax
import numpy as np
import pytest

import qiff
from qiff import InputError
from qiff.training.checkpoint import model_hash, read_notes

CONFIG = {"kind": "triatomic", "elements": ["O", "H", "H"], "n_layers": 2}


@pytest.fixture
def path(tmp_path):
    potential = qiff.build(CONFIG, jax.random.key(0))
    qiff.save(potential, tmp_path / "model.qiff", {"note": 1})
    return tmp_path / "model.qiff"


def rewrite(path, **changes):
    """Change members of an archive; None removes one."""
    with np.load(path) as archive:
        members = {name: archive[name] for name in archive.files} | changes
    content = io.BytesIO()
    np.savez(content, **{name: value for name, value in members.items() if value is not None})
    path.write_bytes(content.getvalue())


def test_numpy_alone_reads_it(path):
    with np.load(path, allow_pickle=False) as archive:
        header = json.loads(str(archive["header"]))
        assert header["model"]["kind"] == "triatomic"
        assert archive["circuit.weights"].shape == (2, 3)
        assert set(archive.files) == {
            *("header", "checksum", "bias", "readout", "circuit.scales", "circuit.weights")
        }
    assert read_notes(path) == {"note": 1}


def test_missing_unknown_and_misshaped_arrays_are_named(path):
    original = path.read_bytes()
    for change, message in (
        ({"circuit.weights": None}, r"array `circuit\.weights` is missing"),
        ({"circuit.wieghts": np.zeros(3)}, r"array `circuit\.wieghts` is unknown"),
        (
            {"circuit.weights": np.zeros((2, 4))},
            r"must be float.* of shape \(2, 3\), but is .*\(2, 4\)",
        ),
        (
            {"circuit.weights": np.full((2, 3), np.nan, np.float32)},
            r"`circuit\.weights` must be finite",
        ),
        ({"bias": np.array(1)}, "array `bias` must be float"),
        ({"bias": np.array(1.0, np.float16)}, "must be float32 .* but is float16"),
        ({"bias": np.array(1.0, np.longdouble)}, "must be float32 .* but is (float128|longdouble)"),
        ({"header": np.array("[]")}, "not a file of qiff"),
        ({"header": np.array("{}")}, "its header names no format"),
        ({"header": np.array('{"format": "qiff 9"}')}, "is of format 9, but this version"),
        ({"header": np.array('{"format": "qiff 1", "model": {"kind": "os"}}')}, "Model kind `os`"),
        ({"header": np.array('{"format": "qiff 1"}')}, "does not describe a model"),
        ({"header": np.array('{"format": "qiff 1", "model": "a"}')}, "does not describe a model"),
    ):
        path.write_bytes(original)
        rewrite(path, **change)
        with pytest.raises(InputError, match=message):
            accepted(path)
    for header in (None, np.array("{")):
        path.write_bytes(original)
        rewrite(path, header=header)
        with pytest.raises(InputError, match="not a file of qiff"):
            qiff.load(path)


def accepted(path):
    """The potential of a file that was changed by hand."""
    qiff.rewrite_checksum(path)
    return qiff.load(path)


def test_a_changed_file_is_refused_until_the_change_is_accepted(path):
    """A number of the header decides energies as a weight does."""
    original = path.read_bytes()
    header = json.loads(str(np.load(path)["header"]))
    header["model"]["initial_scale"] = 10.0
    for change in (
        {"header": np.array(json.dumps(header))},
        {"header": np.array(json.dumps(header | {"format": "qiff 2"}))},
        {"bias": np.array(0.25, np.float32)},
        {"checksum": None},
        {"checksum": np.array("0" * 64)},
    ):
        path.write_bytes(original)
        rewrite(path, **change)
        with pytest.raises(InputError, match=r"does not agree with its checksum.*rewrite_checksum"):
            qiff.load(path)
    rewrite(path, header=np.array(json.dumps(header)), bias=np.array(0.25, ">f4"))
    assert accepted(path).config()["initial_scale"] == 10.0
    (*_, bias) = jax.tree.leaves(qiff.load(path))
    assert bias == 0.25  # of the other order of bytes


def test_archives_with_more_than_they_should_have_are_refused(path):
    whole = path.read_bytes()
    with np.load(path) as archive:
        members = {name: archive[name] for name in archive.files}
    packed = io.BytesIO()
    np.savez_compressed(packed, **members)
    for content in (whole + b"\0", whole + whole, b"\0" + whole, packed.getvalue()):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a file of qiff"):
            qiff.load(path)
    path.write_bytes(whole)
    with (
        zipfile.ZipFile(path, "a") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("bias.npy", archive.read("bias.npy"))
    with pytest.raises(InputError, match="not a file of qiff"):
        qiff.load(path)
    path.write_bytes(whole)
    assert qiff.load(path).config()["kind"] == "triatomic"  # control


@pytest.mark.slow
def test_an_archive_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "bomb.qiff", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("bias.npy", "w", force_zip64=True) as member,
    ):
        header = {"descr": "<f8", "fortran_order": False, "shape": (1 << 29,)}
        np.lib.format.write_array_header_1_0(member, header)
        for _ in range(1 << 8):
            member.write(bytes(1 << 24))
    assert (tmp_path / "bomb.qiff").stat().st_size < 5e6
    begin = time.perf_counter()
    with pytest.raises(InputError, match="not a file of qiff"):
        qiff.load(tmp_path / "bomb.qiff")
    assert time.perf_counter() - begin < 1


def test_cut_short_at_any_place_is_refused(path):
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match="not a file of qiff"):
            qiff.load(path)


class Payload:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a model file ran code')",))


def test_pickles_are_refused_and_never_run(path, tmp_path):
    (tmp_path / "pickle.qiff").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(InputError, match="pickled objects"):
        qiff.load(tmp_path / "pickle.qiff")
    object_array = io.BytesIO()
    np.save(object_array, np.array([Payload()], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("extra.npy", object_array.getvalue())
    with pytest.raises(InputError, match="pickled objects"):
        qiff.load(path)
    with pytest.raises(SystemExit, match="ran code"):  # control: the payload would run
        pickle.loads((tmp_path / "pickle.qiff").read_bytes())


def test_absent_and_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        qiff.load(tmp_path / "absent.qiff")
    with pytest.raises(InputError, match="is a folder"):
        qiff.load(tmp_path)


def test_a_model_comes_with_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    potential = qiff.load("ethanol")
    assert read_notes("ethanol")["step"] > 0
    assert len(model_hash("ethanol")) == 64
    atoms = ase.build.molecule("CH3CH2OH")
    atoms.rattle(0.1, seed=0)
    atoms.calc = qiff.Calculator(potential)
    assert ase.optimize.BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    bonds = [atoms.get_distance(0, 1), atoms.get_distance(1, 2)]
    np.testing.assert_allclose(bonds, [1.51, 1.43], atol=0.02)  # C-C and C-O, in Å
    with pytest.raises(InputError, match="etanol: no such file, nor a model that comes with qiff"):
        qiff.load("etanol")
    qiff.save(qiff.build(CONFIG, jax.random.key(0)), "ethanol")
    assert qiff.load("ethanol").config()["kind"] == "triatomic"  # a file of the name goes first


def test_writing_is_atomic(path, monkeypatch):
    before = path.read_bytes()

    def full_disk(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        qiff.save(qiff.build(CONFIG, jax.random.key(1)), path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == [path.name]
