"""MNIST, CIFAR-10 and STL-10 in the files that torchvision downloads; training and test part are pooled."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lib_unlearning.cache.files import atomic_file
from lib_unlearning.errors import LOGGER, UserError, error_text
from lib_unlearning.readers import safe_pickle
from lib_unlearning.readers.raw import RawDataset

MAX_BYTES = 2 * 2**30
# Means and standard deviations of the channels (of pixels in 0 .. 1), as everybody uses them.
NORMALISATION = {
    "mnist": ([0.1307], [0.3081]),
    "cifar10": ([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]),
    "stl10": ([0.4467, 0.4398, 0.4066], [0.2603, 0.2566, 0.2713]),
}
# Digits of each kind in MNIST's training part; the others that share its format have equally many of each.
_MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
_FASHION_START = [9, 0, 0, 3, 0]  # first labels of its training part
_IMPOSTORS = ("fashionmnist", "kmnist", "emnist", "qmnist", "notmnist", "kuzushijimnist")
_DIGITS = [str(digit) for digit in range(10)]
_CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
_STL = ["airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck"]
_MNIST_PARTS = ("train", "t10k")
# Of MNIST's two parts: sum over their pictures, in any order, of SHA-256 of pixels and label (see `_fingerprint`).
_MNIST_PRINTS = {
    "3bafe639115ada3a4f6ea1b0e57c9dbb1f0c9a3254eec392fcafb4623efa5f5c",
    "09035d9cd0383aa0d10d2029dce798b0baeb785bdcc429c7b578d760f7b08da1",
}
# MD5 of the files as published, as torchvision checks them (BSD-3-Clause).
_CIFAR_PARTS = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_STL_PARTS = ("train", "test")
_STL_PIXELS = {"918c2871b30a85fa023e0c44e0bee87f", "7f263ba9f9e0b06b93213547f721ac82"}


def recognise_mnist(path: Path) -> bool:
    """Whether a folder holds MNIST's idx files, and not those of a data set that took over their names."""
    return path.is_dir() and bool(_idx_files(path, "train")) and _impostor(path) is None


def _impostor(path: Path) -> str | None:
    """Another data set in MNIST's format, told by its folder's name or, where it is complete, by its labels."""
    for part in path.parts[-3:]:
        if part.lower().replace("-", "") in _IMPOSTORS:
            return part
    files = _idx_files(path, "train")
    if not files:
        return None
    try:
        labels = _idx(files[1], 1)
    except UserError:
        return None  # told when it is read
    counts = np.bincount(labels, minlength=10).tolist()
    if len(labels) == sum(_MNIST_COUNTS) and counts != _MNIST_COUNTS:
        return "FashionMNIST" if labels[:5].tolist() == _FASHION_START else "not MNIST (its classes have other sizes)"
    return None


def recognise_cifar10(path: Path) -> bool:
    """Whether a folder holds CIFAR-10's batches, or a file is their archive."""
    if path.is_dir():
        return any((path / part).is_file() for part in _CIFAR_PARTS)
    return path.name.startswith("cifar-10") and path.suffixes[-2:] == [".tar", ".gz"]


def recognise_stl10(path: Path) -> bool:
    """Whether a folder holds STL-10's binary files."""
    return path.is_dir() and (path / "train_X.bin").is_file()


def read_mnist(path: Path) -> RawDataset:
    """Features [N, 1, 28, 28] uint8 from idx files, plain or gzip."""
    other = _impostor(path)
    if other is not None:
        raise UserError(f"{path} holds {other}, in MNIST's format; name MNIST's own files with --source")
    parts = []
    for part in _MNIST_PARTS:
        files = _idx_files(path, part)
        if not files:
            raise UserError(f"{path} lacks {part}-images-idx3-ubyte or {part}-labels-idx1-ubyte; fetch MNIST again")
        parts.append((_idx(files[0], 3)[:, None], _idx(files[1], 1)))
    raw = _pooled("mnist", path, parts, _DIGITS)
    return raw if {_fingerprint(*part) for part in parts} == _MNIST_PRINTS else _not_as_published(raw, path, "MNIST")


def _not_as_published(raw: RawDataset, path: Path, name: str) -> RawDataset:
    """Pictures that share a known set's format and may be anything, called that."""
    LOGGER.warning("%s: its pictures are not %s as published; called what they are, pictures in its format", path, name)
    unknown = {"source": f"pictures in {name}'s format, not {name} as published", "licence": "not stated"}
    return replace(raw, details=raw.details | unknown)


def _fingerprint(pixels: np.ndarray, labels: np.ndarray) -> str:
    """What tells pictures [n, ...] with labels [n] from all others, whatever their order."""
    digests = (
        hashlib.sha256(picture.tobytes() + bytes([int(label)])).digest()
        for picture, label in zip(pixels, labels, strict=False)
    )
    return f"{sum(int.from_bytes(found, 'big') for found in digests) % 2**256:064x}"


def read_cifar10(path: Path) -> RawDataset:
    """Features [N, 3, 32, 32] uint8 from the pickled batches, opened without running what they name."""
    parts, lacking, others = [], [], []
    with _unpacked(path) as folder:
        for part, known in _CIFAR_PARTS.items():
            content = folder.read(part)
            if content is None:
                lacking.append(part)
            else:
                others += [part] if hashlib.md5(content).hexdigest() != known else []
                parts.append(_cifar_batch(content, path / part if path.is_dir() else path))
    if not parts:
        raise UserError(f"{path} holds no data_batch_1 ... test_batch; fetch CIFAR-10 again")
    if lacking:
        LOGGER.warning("%s lacks %s: the data set is made of the others", path, ", ".join(lacking))
    raw = _pooled("cifar10", path, parts, _CIFAR)
    return _not_as_published(raw, path, "CIFAR-10") if others else raw


def read_stl10(path: Path) -> RawDataset:
    """Features [N, 3, 96, 96] uint8 from the labelled binary files; images are stored column by column."""
    parts, known = [], set()
    for part in _STL_PARTS:
        pixels, labels = _bytes(path / f"{part}_X.bin"), _bytes(path / f"{part}_y.bin")
        if len(pixels) != len(labels) * 3 * 96 * 96:
            raise UserError(f"{path / part}_X.bin has {len(pixels)} bytes for {len(labels)} labels; fetch STL-10 again")
        known.add(hashlib.md5(pixels.data).hexdigest())
        parts.append((pixels.reshape(-1, 3, 96, 96).transpose(0, 1, 3, 2), labels.astype(np.int64) - 1))
    raw = _pooled("stl10", path, parts, _STL)
    return raw if known == _STL_PIXELS else _not_as_published(raw, path, "STL-10")


def unpack_stl10(archive: Path, folder: Path) -> None:
    """Take the labelled parts out of STL-10's archive; the unlabelled pictures are not needed."""
    wanted = {f"{part}_{kind}.bin" for part in _STL_PARTS for kind in ("X", "y")}
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name, content = Path(member.name).name, members.extractfile(member)
                if name in wanted and content is not None:
                    with atomic_file(folder / name) as handle:
                        shutil.copyfileobj(content, handle)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise UserError(f"{archive} cannot be read ({error_text(error)}); fetch it again") from error


def _pooled(name: str, path: Path, parts: list[tuple[np.ndarray, np.ndarray]], classes: list[str]) -> RawDataset:
    sizes = sorted({pixels.shape[1:] for pixels, _ in parts})
    if len(sizes) > 1:
        shown = " and ".join(" x ".join(map(str, size)) for size in sizes)
        raise UserError(f"{path}: its parts hold pictures of different sizes, {shown}; fetch it again")
    for pixels, names in parts:
        if len(pixels) != len(names):
            raise UserError(f"{path} has {len(pixels)} images and {len(names)} labels in one part; fetch it again")
    images = np.ascontiguousarray(np.concatenate([part for part, _ in parts]))
    labels = np.concatenate([part for _, part in parts]).astype(np.int64)
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(classes)):
        raise UserError(f"{path} has a label outside the {len(classes)} classes; fetch it again")
    mean, deviation = NORMALISATION[name]
    details = {"parts": [len(part) for _, part in parts], "normalisation": {"mean": mean, "std": deviation}}
    return RawDataset(images, labels, classes, details)


def _bytes(path: Path) -> np.ndarray:
    """All bytes of a file, gzip or not."""
    try:
        with open(path, "rb") as handle:
            packed = handle.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else open(path, "rb") as handle:
            content = handle.read(MAX_BYTES + 1)
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read ({error_text(error)}); fetch it again") from error
    if len(content) > MAX_BYTES:
        raise UserError(f"{path} unpacks to more than {MAX_BYTES} bytes; give the original file")
    return np.frombuffer(content, dtype=np.uint8)


def _idx_files(path: Path, part: str) -> list[Path]:
    """Image and label file of one part of MNIST, or nothing when one is missing."""
    found = []
    for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"):
        candidates = [path / f"{part}-{kind}{suffix}" for suffix in ("", ".gz")]
        found += [candidate for candidate in candidates if candidate.is_file()][:1]
    return found if len(found) == 2 else []


def _idx(path: Path, dimensions: int) -> np.ndarray:
    """An idx file of unsigned bytes: two zeros, type 8, number of dimensions, sizes as big-endian 32-bit integers."""
    content = _bytes(path)
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4].tolist() != [0, 0, 8, dimensions]:
        raise UserError(f"{path} is no idx file of {dimensions} dimensions; fetch it again")
    shape = [int(size) for size in content[4:header].view(">u4")]
    if len(content) - header != math.prod(shape):
        raise UserError(
            f"{path} has {len(content) - header} values, not the {math.prod(shape)} it announces; fetch it again"
        )
    return content[header:].reshape(shape)


class _unpacked:  # noqa: N801  a context manager, named as it reads
    """The members of a folder or of a tar archive, read by name without unpacking anything to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, bytes] = {}

    def __enter__(self) -> _unpacked:
        if self.path.is_dir():
            return self
        try:
            with tarfile.open(self.path) as archive:
                for member in archive:
                    if member.isfile() and Path(member.name).name in _CIFAR_PARTS and member.size < MAX_BYTES:
                        handle = archive.extractfile(member)
                        self.members[Path(member.name).name] = handle.read() if handle else b""
        except (OSError, EOFError, tarfile.TarError) as error:
            raise UserError(f"{self.path} cannot be read ({error_text(error)}); fetch it again") from error
        return self

    def read(self, name: str) -> bytes | None:
        """Content of a member, None if there is none."""
        if self.path.is_dir():
            path = self.path / name
            return _bytes(path).tobytes() if path.is_file() else None
        return self.members.get(name)

    def __exit__(self, *error: object) -> None:
        self.members.clear()


def _cifar_batch(content: bytes, path: Path) -> tuple[np.ndarray, np.ndarray]:
    batch: Any = safe_pickle.loads(io.BytesIO(content), path, encoding="bytes")
    try:
        pixels, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"], dtype=np.int64)
        if pixels.dtype != np.uint8:
            raise UserError(f"{path} holds {pixels.dtype} numbers, not bytes of pictures; fetch CIFAR-10 again")
        if pixels.shape[1:] == (32, 32, 3):
            pixels = pixels.transpose(0, 3, 1, 2)  # channels come last
        elif pixels.shape[1:] not in ((3072,), (3, 32, 32)):
            shown = " x ".join(map(str, pixels.shape[1:]))
            raise UserError(f"{path} holds pictures of {shown}, not 3 x 32 x 32; fetch CIFAR-10 again")
        return pixels.reshape(len(labels), 3, 32, 32), labels
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{path} is no batch of CIFAR-10 ({error_text(error)}); fetch it again") from error
