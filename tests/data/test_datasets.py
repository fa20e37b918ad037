"""Datasets: the bundled one, the official ones from files made here, and archives that are wrong in every way."""

import io
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from fl_attack_bench.data import archive, catalogue, datasets
from fl_attack_bench.errors import UnknownNameError, UserError


def sound(**changes):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.integers(0, 256, (6, 5, 4, 3)).astype(np.uint8),
        "y_train": np.array([0, 1, 2, 0, 1, 2], dtype=np.uint8),
        "x_test": rng.integers(0, 256, (3, 5, 4, 3)).astype(np.uint8),
        "y_test": np.array([2, 1, 0]),
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def refused(tmp_path: Path, name: str = "npz:toy") -> str:
    with pytest.raises(UserError) as caught:
        datasets.load(name, tmp_path)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_digits_are_real_scaled_split_once_and_leave_the_global_generator_alone(tmp_path):
    torch.manual_seed(3)
    np_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    digits = datasets.load("digits", tmp_path)
    assert digits.x_train.shape == (1437, 1, 28, 28)
    assert digits.x_test.shape == (360, 1, 28, 28)
    assert digits.image_shape == (1, 28, 28)
    assert digits.classes == 10
    assert digits.x_train.dtype == torch.float32
    assert digits.y_train.dtype == torch.int64
    assert digits.x_train.min() == 0
    assert 0.95 < digits.x_train.max() <= 1
    assert digits.y_test.bincount().min() >= 25
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (np_state == np.random.get_state()[1]).all()  # noqa: NPY002
    assert datasets.load("digits", tmp_path) is digits


def test_the_split_of_digits_never_moves(tmp_path):
    # A victim is named by its place in the split: another order is another benchmark.
    assert datasets.load("digits", tmp_path).fingerprint.startswith("69665de9ecfb12ab")


def test_diabetes_is_regression_scaled_as_documented_and_split_once(tmp_path):
    from sklearn.datasets import load_diabetes

    data = datasets.load("diabetes", tmp_path)
    assert (data.x_train.shape, data.x_test.shape) == ((354, 1, 1, 10), (88, 1, 1, 10))
    assert (data.y_train.shape, data.y_test.shape, data.classes) == ((354,), (88,), 1)
    assert data.image_shape == (1, 1, 10)
    assert {t.dtype for t in (data.x_train, data.y_train, data.x_test, data.y_test)} == {torch.float32}
    everybody, targets = torch.cat([data.x_train, data.x_test]).view(-1, 10), torch.cat([data.y_train, data.y_test])
    assert everybody.amin(0).tolist() == [0] * 10
    assert everybody.amax(0).tolist() == [1] * 10
    features, wanted = load_diabetes(return_X_y=True, scaled=False)
    assert sorted((targets * 321 + 25).round().int().tolist()) == sorted(wanted.astype(int).tolist())
    # Each row is one patient's: body mass index is the third feature, and beside its own target.
    span = features[:, 2].max() - features[:, 2].min()
    pairs = zip((everybody[:, 2] * span + features[:, 2].min()).tolist(), (targets * 321 + 25).tolist(), strict=True)
    theirs = sorted(zip(features[:, 2].tolist(), wanted.tolist(), strict=True))
    assert np.allclose(sorted((round(a, 3), round(b)) for a, b in pairs), theirs, atol=1e-2)
    assert datasets.load("diabetes", tmp_path) is data
    assert data.fingerprint.startswith("36c594627747e19e")


def test_breast_cancer_is_scaled_as_documented_and_split_once(tmp_path):
    from sklearn.datasets import load_breast_cancer

    data = datasets.load("breast_cancer", tmp_path)
    assert (data.x_train.shape, data.x_test.shape) == ((455, 1, 1, 30), (114, 1, 1, 30))
    assert (data.image_shape, data.classes) == ((1, 1, 30), 2)
    assert (data.x_train.dtype, data.y_train.dtype) == (torch.float32, torch.int64)
    theirs = load_breast_cancer()
    # The order of the features that a split counts on: ten means, ten standard errors, ten worst.
    kinds = [name.split()[0] for name in theirs.feature_names[:10]]
    assert kinds == ["mean"] * 10
    assert [name.replace("mean ", "") for name in theirs.feature_names[:10]] == [
        name.removesuffix(" error") for name in theirs.feature_names[10:20]
    ]
    assert all(name.startswith("worst") for name in theirs.feature_names[20:])
    # Undo the scaling: every patient is there once, each with its own label.
    low, span = theirs.data.min(0), np.ptp(theirs.data, axis=0)
    ours = torch.cat([data.x_train, data.x_test]).view(-1, 30).double().numpy() * span + low
    labels = torch.cat([data.y_train, data.y_test]).numpy()
    nearest = (np.abs((ours[:, None] - theirs.data[None]) / span)).max(2)
    assert sorted(nearest.argmin(1)) == list(range(569))
    assert nearest.min(1).max() < 1e-6
    assert (theirs.target[nearest.argmin(1)] == labels).all()
    assert datasets.load("breast_cancer", tmp_path) is data
    assert data.fingerprint.startswith("7b9071d529b987d4")


def test_a_table_becomes_images_of_one_row(tmp_path):
    train = np.linspace(0, 1, 6 * 7).reshape(6, 7)
    np.savez(tmp_path / "toy.npz", **sound(x_train=train, x_test=train[:3].astype(np.float32)))
    toy = datasets.load("npz:toy", tmp_path)
    assert toy.image_shape == (1, 1, 7)
    assert torch.equal(toy.x_train.view(6, 7), torch.from_numpy(train.astype(np.float32)))
    assert toy.x_test.shape == (3, 1, 1, 7)
    assert toy.x_train.is_contiguous()


def test_npz_is_scaled_and_channels_come_first(tmp_path):
    arrays = sound()
    np.savez_compressed(tmp_path / "toy.npz", **arrays)
    toy = datasets.load("npz:toy", tmp_path)
    assert toy.name == "npz:toy"
    assert toy.image_shape == (3, 5, 4)
    assert toy.classes == 3
    expected = torch.from_numpy(arrays["x_train"].astype(np.float32) / 255).permute(0, 3, 1, 2)
    assert torch.equal(toy.x_train, expected)
    assert toy.x_train.is_contiguous()
    assert toy.y_test.tolist() == [2, 1, 0]


def test_grey_floats_of_any_byte_order_and_layout_are_taken_as_they_are(tmp_path):
    train = np.asfortranarray(np.linspace(0, 1, 6 * 20).reshape(6, 5, 4)).astype(">f8")
    np.savez(tmp_path / "toy.npz", **sound(x_train=train, x_test=train[:3]))
    toy = datasets.load("npz:toy", tmp_path)
    assert toy.image_shape == (1, 5, 4)
    assert torch.equal(toy.x_train[:, 0], torch.from_numpy(train.astype(np.float32)))


def test_a_dataset_is_loaded_once_until_its_file_changes(tmp_path):
    np.savez(tmp_path / "toy.npz", **sound())
    first = datasets.load("npz:toy", tmp_path)
    assert datasets.load("npz:toy", tmp_path) is first
    np.savez(tmp_path / "toy.npz", **sound(y_test=np.array([0, 0, 1, 1][:3]), extra=np.zeros(9)))
    second = datasets.load("npz:toy", tmp_path)
    assert second.y_test.tolist() == [0, 0, 1]
    assert second.fingerprint != first.fingerprint


def test_the_fingerprint_tells_dtype_shape_and_bytes_apart(tmp_path):
    grey = np.zeros((6, 5, 4), dtype=np.uint8)
    variants = [
        sound(x_train=grey, x_test=grey[:3]),
        sound(x_train=grey[..., None], x_test=grey[:3, ..., None]),
        sound(x_train=grey.astype(np.float32), x_test=grey[:3]),
        sound(x_train=grey + np.uint8(1), x_test=grey[:3]),
    ]
    prints = set()
    for number, arrays in enumerate(variants):
        np.savez(tmp_path / f"v{number}.npz", **arrays)
        prints.add(datasets.load(f"npz:v{number}", tmp_path).fingerprint)
    assert len(prints) == len(variants)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"x_test": None}, ["no array 'x_test'", "x_train"]),
        ({"x_train": np.zeros((6, 5), np.uint8)}, ["x_train", "(6, 5)", "(N, H, W)"]),
        ({"x_train": np.zeros(6), "x_test": np.zeros(3)}, ["x_train", "(6,)", "(N, D)", "(N, H, W, C)"]),
        ({"x_train": np.zeros((6, 5), np.uint8)}, ["x_train", "uint8", "a table (N, D) holds floats in [0, 1]"]),
        ({"x_train": np.zeros((6, 0))}, ["x_train", "(6, 0)", "empty"]),
        ({"x_train": np.full((6, 5), 1.5)}, ["x_train", "1.5", "[0, 1]"]),
        ({"x_train": np.full((6, 5), np.nan)}, ["x_train", "nan", "[0, 1]"]),
        ({"x_train": np.zeros((6, 5)), "x_test": np.zeros((3, 4))}, ["x_test", "(4,)", "(5,)"]),
        ({"x_train": np.zeros((0, 5, 4, 3), np.uint8), "y_train": np.zeros(0, int)}, ["x_train", "empty"]),
        ({"x_train": np.zeros((6, 3, 5, 40), np.uint8)}, ["40 channels", "transpose"]),
        ({"x_train": np.zeros((6, 5, 4, 3), np.int32)}, ["x_train", "int32", "uint8"]),
        ({"x_train": np.full((6, 5, 4, 3), 255.0)}, ["x_train", "255", "[0, 1]"]),
        ({"x_train": np.full((6, 5, 4, 3), np.nan)}, ["x_train", "nan"]),
        ({"x_test": np.zeros((3, 5, 5, 3), np.uint8)}, ["x_test", "(5, 5, 3)", "(5, 4, 3)"]),
        ({"y_train": np.zeros(5, int)}, ["y_train", "(5,)", "6 samples"]),
        ({"y_train": np.zeros((6, 1), int)}, ["y_train", "(6, 1)"]),
        ({"y_train": np.zeros(6)}, ["y_train", "float64", "integers"]),
        ({"y_train": np.zeros(6, bool)}, ["y_train", "bool"]),
        ({"y_test": np.array([0, -1, 2])}, ["y_test", "-1"]),
        ({"y_test": np.array([0, 10**12, 2])}, ["y_test", "1000000000000"]),
        ({"y_test": np.array(["a", "b", "c"], dtype=object)}, ["y_test", "pickled"]),
    ],
)
def test_a_wrong_array_is_named(tmp_path, changes, says):
    np.savez(tmp_path / "toy.npz", **sound(**changes))
    text = refused(tmp_path)
    for part in [str(tmp_path / "toy.npz"), *says]:
        assert part in text


class Bomb:
    def __reduce__(self):
        return (Path("/tmp/flab-was-pickled").touch, ())


def test_pickles_are_never_opened(tmp_path):
    np.savez(tmp_path / "toy.npz", **sound(x_train=np.array([Bomb()] * 6, dtype=object)))
    assert "pickled" in refused(tmp_path)
    assert not Path("/tmp/flab-was-pickled").exists()


def test_files_that_are_no_archives(tmp_path):
    target = tmp_path / "toy.npz"
    assert "no such file" in refused(tmp_path)
    assert "--data-dir" in refused(tmp_path)
    target.write_bytes(b"")
    assert "not a sound .npz" in refused(tmp_path)
    target.write_bytes(b"hello" * 100)
    assert "not a sound .npz" in refused(tmp_path)
    np.savez(target, **sound())
    whole = target.read_bytes()
    target.write_bytes(whole[: len(whole) // 2])
    assert "not a sound .npz" in refused(tmp_path)
    target.unlink()
    target.mkdir()
    assert "no such file" in refused(tmp_path)


def test_any_flipped_byte_is_refused_or_harmless(tmp_path):
    np.savez_compressed(tmp_path / "toy.npz", **sound())
    whole = (tmp_path / "toy.npz").read_bytes()
    refusals = []
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (tmp_path / "toy.npz").write_bytes(bytes(damaged))
        try:
            read = archive.read(tmp_path / "toy.npz")
        except UserError as error:
            refusals.append(str(error))
        else:
            assert all((read[key] == value).all() for key, value in sound().items())
    assert len(refusals) > len(whole) / 7 / 2
    assert not [text for text in refusals if "\n" in text]


def write_member(path: Path, header: bytes, body: bytes) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for key, value in sound().items():
            buffer = io.BytesIO()
            np.save(buffer, value)
            data = buffer.getvalue()
            if key == "x_train":
                data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body
            out.writestr(f"{key}.npy", data)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (999999999999, 5, 4, 3), }\n", "more than"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (600, 5, 4, 3), }\n", "promises"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (2, 5, 4, 3), }\n", "promises"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (-6, 5, 4, 3), }\n", "x_train"),
        (b"{'descr': 'nonsense', 'fortran_order': False, 'shape': (6,), }\n", "header"),
        (b"[" * 5000 + b"\n", "header"),
        (b"__import__('os').abort()\n", "header"),
    ],
)
def test_lying_headers(tmp_path, header, says):
    write_member(tmp_path / "toy.npz", header, bytes(6 * 5 * 4 * 3))
    assert says in refused(tmp_path)


def test_decompression_bombs_are_refused_by_their_headers(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 1_000_000)
    zeros = np.zeros((400, 32, 32, 3), np.uint8)
    np.savez_compressed(tmp_path / "toy.npz", **sound(x_train=zeros, y_train=np.zeros(400, int)))
    assert (tmp_path / "toy.npz").stat().st_size < 20_000
    assert "more than 1,000,000" in refused(tmp_path)


def test_encrypted_members_are_refused(tmp_path):
    np.savez(tmp_path / "toy.npz", **sound())
    whole = bytearray((tmp_path / "toy.npz").read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = whole.find(mark)
        while place >= 0:
            whole[place + offset] |= 1
            place = whole.find(mark, place + 4)
    (tmp_path / "toy.npz").write_bytes(bytes(whole))
    assert "encrypted" in refused(tmp_path)


@pytest.mark.parametrize(
    "name", ["npz:../x", "npz:/etc/passwd", "npz:a/b", "npz:", "npz:.x", "npz:a\nb", "npz:a\x00", "npz:" + "a" * 99]
)
def test_names_cannot_leave_the_folder(tmp_path, name):
    assert "plain file name" in refused(tmp_path, name)
    with pytest.raises(UserError, match="plain file name"):
        datasets.present(name, tmp_path)


def test_unknown_names_get_a_suggestion(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'mnist'"):
        datasets.load("mnst", tmp_path)
    with pytest.raises(UnknownNameError, match="npz:NAME"):
        datasets.load("imagenet21k", tmp_path)


def test_what_there_is_and_what_is_downloaded():
    names = ["breast_cancer", "cifar10", "diabetes", "digits", "mnist", "nus_wide"]
    assert datasets.names() == names
    assert [name for name in [*names, "npz:mnist"] if catalogue.fetched(name)] == ["cifar10", "mnist"]


@pytest.mark.parametrize("name", ["mnist", "cifar10"])
def test_absent_official_sets_say_the_command(tmp_path, name):
    assert not datasets.present(name, tmp_path)
    assert f"--download --data-dir {tmp_path}" in refused(tmp_path, name)


def idx(path: Path, values: np.ndarray) -> None:
    head = struct.pack(">HBB", 0, 8, values.ndim) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(head + values.astype(np.uint8).tobytes())


def write_mnist(folder: Path) -> np.ndarray:
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    images = np.random.default_rng(1).integers(0, 256, (7, 28, 28)).astype(np.uint8)
    for kind, count in (("train", 5), ("t10k", 2)):
        idx(raw / f"{kind}-images-idx3-ubyte", images[:count])
        idx(raw / f"{kind}-labels-idx1-ubyte", np.arange(count))
    return images


def test_mnist_is_read_through_torchvision(tmp_path):
    images = write_mnist(tmp_path)
    assert datasets.present("mnist", tmp_path)
    mnist = datasets.load("mnist", tmp_path)
    assert torch.equal(mnist.x_train[:, 0], torch.from_numpy(images[:5].astype(np.float32) / 255))
    assert mnist.y_test.tolist() == [0, 1]
    assert datasets.load("mnist", tmp_path) is mnist


def test_damaged_official_files_are_a_line(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"\x00")
    assert "cannot be loaded" in refused(tmp_path, "mnist")
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    assert "cannot be loaded" in refused(tmp_path, "cifar10")


def test_importing_loads_neither_torchvision_nor_sklearn():
    code = (
        "import sys, fl_attack_bench.data.datasets; print([m for m in ('torchvision', 'sklearn') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.shared
def test_the_real_subsets(shared_data):
    mnist = datasets.load("npz:mnist", shared_data)
    assert (len(mnist.x_train), len(mnist.x_test), mnist.image_shape, mnist.classes) == (17435, 10000, (1, 28, 28), 10)
    cifar = datasets.load("npz:cifar10", shared_data)
    assert (len(cifar.x_train), len(cifar.x_test), cifar.image_shape, cifar.classes) == (5085, 1017, (3, 32, 32), 10)
    assert datasets.present("npz:mnist", shared_data)
