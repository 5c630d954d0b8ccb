"""Read weight files of every format that is in use, without ever running code from them.

PyTorch's pickle is read with weights_only=True; a TorchScript archive is opened as what it is, a zip with tensors, and
its program is not loaded; safetensors cannot hold code at all.  What is no weight file is named for what it is.
"""

import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import safetensors
import torch

from ..errors import CheckpointError

FORMATS = ("safetensors", "torchscript", "torch zip", "pickle")


def read_payload(path: Path, mmap: bool = False) -> dict:
    """Read whatever the file holds as a dictionary: its own keys, or {"state_dict": tensors} for bare formats.

    mmap: leave tensors on disk until they are used (PyTorch's zip format only).  Raises CheckpointError naming what
    is wrong: missing, empty, a web page, text, truncated, unsafe, or no weight file at all.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no weight file at {path}. Check the path, or get it with checkpoints.fetch.")
    found = recognise(path)
    if found not in FORMATS:
        raise CheckpointError(f"{path.name} is not a weight file: it is {found}. Download it again.")
    try:
        if found == "safetensors":
            with safetensors.safe_open(path, framework="pt") as file:
                return {**(file.metadata() or {}), "state_dict": {key: file.get_tensor(key) for key in file.keys()}}  # noqa: SIM118
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about pickle protocols and old kinds of storage
            if found == "torchscript":
                return {"state_dict": _read_torchscript(path)}
            mmap = mmap and found == "torch zip"
            payload = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap or None)
            return payload if isinstance(payload, dict) else {"state_dict": payload}
    except Exception as error:  # a damaged file raises anything
        words = str(error)
        code = re.search(r"GLOBAL:? ([\w.]+)|Unsupported|reduce", words)
        if code and isinstance(error, pickle.UnpicklingError):
            raise CheckpointError(
                f"{path.name} is refused: it is a pickle that runs code ({code[1] or 'hidden'}) when it is loaded, and "
                "so could do anything to this computer. Only plain tensors are read. Take the file from a source you "
                "trust, or ask its author for safetensors."
            ) from error
        size, words = path.stat().st_size, (words or "ends early").splitlines()[-1][-200:]
        raise CheckpointError(f"{path.name} is truncated or damaged {found} ({size} bytes): {words}") from error


def recognise(path: Path) -> str:
    """Say what a file is, from its bytes, not from its name."""
    with path.open("rb") as stream:
        head = stream.read(1024)
    size = f"{path.stat().st_size} bytes"
    if not head:
        return "empty (0 bytes)"
    if head.startswith(b"PK"):
        if not zipfile.is_zipfile(path):
            return f"truncated: an archive without its end ({size})"
        with zipfile.ZipFile(path) as archive:
            names = " ".join(archive.namelist())
        if "data.pkl" not in names:
            return f"a zip archive without weights ({size})"
        return "torchscript" if "/constants.pkl" in names else "torch zip"
    if re.match(rb"\s*(<!doctype|<html|<head|<\?xml)", head, re.IGNORECASE) or b"<html" in head.lower():
        return f"an HTML page ({size}), probably an error or login page of the site it came from"
    if head.startswith(b"version https://git-lfs"):
        return f"a Git LFS pointer ({size}), not the file that it points to"
    if len(head) > 8 and head[8:9] == b"{":
        return "safetensors"
    if head[:1] == b"\x80":
        return "pickle"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head[:200]):
        return f"text ({size}) that begins {head[:60].decode()!r}"
    return f"of no known format ({size})"


class _ScriptModule:
    """Stands for any class of a TorchScript archive: a bag of attributes."""

    def __setstate__(self, state):
        self.attributes = state if isinstance(state, dict) else {}


class _TorchScriptReader(pickle.Unpickler):
    """Unpickler that knows tensors, lists and bags of attributes, and refuses every other name."""

    def __init__(self, archive, root):
        super().__init__(archive.open(f"{root}/data.pkl"))
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        if module.startswith("__torch__"):
            return _ScriptModule
        if module == "torch.jit._pickle":
            return lambda items, *_: items  # a list whose elements have a declared type
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: storage.as_strided(size, stride, offset).clone()
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name.endswith("Storage"):
            return getattr(torch, name).dtype
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, reference):
        _, dtype, key, _, _ = reference
        return torch.frombuffer(bytearray(self.archive.read(f"{self.root}/data/{key}")), dtype=dtype)


def _read_torchscript(path):
    with zipfile.ZipFile(path) as archive:
        root = next(n for n in archive.namelist() if n.endswith("/data.pkl")).removesuffix("/data.pkl")
        return dict(_tensors(_TorchScriptReader(archive, root).load()))


def _tensors(module, prefix=""):
    for name, value in getattr(module, "attributes", {}).items():
        if isinstance(value, torch.Tensor):
            yield prefix + name, value
        yield from _tensors(value, f"{prefix}{name}.")
