"""Read weight files of every format that is in use, without ever running code from them.

PyTorch's pickle is read with weights_only=True; a TorchScript archive is opened as what it is, a zip with tensors, and
its program is not loaded; safetensors cannot hold code at all.  What is no weight file is named for what it is.
"""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch

from ..errors import CheckpointError

_DTYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def read_payload(path: Path, mmap: bool = False) -> dict:
    """Read whatever the file holds as a dictionary: its own keys, or {"state_dict": tensors} for bare formats.

    mmap: leave tensors on disk until they are used (PyTorch's zip format only).  Raises CheckpointError naming what
    is wrong: missing, empty, a web page, text, truncated, unsafe, or no weight file at all.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no weight file at {path}. Check the path, or get it with checkpoints.fetch.")
    found = recognise(path)
    if found == "safetensors":
        return _read_safetensors(path)
    if found == "torchscript":
        return {"state_dict": _read_torchscript(path)}
    if found not in ("torch zip", "pickle"):
        raise CheckpointError(f"{path.name} is not a weight file: it is {found}. Download it again.")
    return _read_torch(path, mmap and found == "torch zip")


def recognise(path: Path) -> str:
    """Say what a file is, from its bytes, not from its name."""
    with path.open("rb") as stream:
        head = stream.read(1024)
    size = f"{path.stat().st_size} bytes"
    if not head:
        return "empty (0 bytes)"
    if head.startswith(b"PK"):
        return _recognise_zip(path, size)
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


def _recognise_zip(path, size):
    if not zipfile.is_zipfile(path):
        return f"truncated: an archive without its end ({size})"
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        return "torchscript"
    if any(name.endswith("data.pkl") for name in names):
        return "torch zip"
    return f"a zip archive without weights ({size})"


def _read_torch(path, mmap):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # remarks about pickle protocols
            payload = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap or None)
    except pickle.UnpicklingError as error:
        words = str(error)
        name = re.search(r"GLOBAL:? ([\w.]+)", words)
        if name or "Unsupported" in words or "reduce" in words:
            what = f" ({name[1]})" if name else ""
            raise CheckpointError(
                f"{path.name} is refused: it is a pickle that runs code{what} when it is loaded, and so could do "
                "anything to this computer. Only plain tensors are read. Take the file from a source you trust, or "
                "ask its author for safetensors."
            ) from error
        raise CheckpointError(f"{path.name} is damaged or truncated: {words.splitlines()[-1][-200:]}") from error
    except (EOFError, RuntimeError, ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
        size = path.stat().st_size
        raise CheckpointError(f"{path.name} is truncated or damaged ({size} bytes): {error or 'ends early'}") from error
    return payload if isinstance(payload, dict) else {"state_dict": payload}


def _read_safetensors(path):
    import safetensors

    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
            return {**(file.metadata() or {}), "state_dict": tensors}
    except safetensors.SafetensorError as error:
        size = path.stat().st_size
        raise CheckpointError(f"{path.name} is truncated or damaged safetensors ({size} bytes): {error}") from error


class _ScriptModule:
    """Stands for any class of a TorchScript archive: a bag of attributes."""

    def __setstate__(self, state):
        self.attributes = state if isinstance(state, dict) else {}


class _TorchScriptReader(pickle.Unpickler):
    """Unpickler that knows tensors, lists and bags of attributes, and refuses every other name."""

    def __init__(self, archive, root):
        super().__init__(io.BytesIO(archive.read(f"{root}/data.pkl")))
        self.archive, self.root = archive, root

    def find_class(self, module, name):
        if module.startswith("__torch__"):
            return _ScriptModule
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        if module == "torch.jit._pickle":
            return _plain_list
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, reference):
        _, dtype, key, _, _ = reference
        return torch.frombuffer(bytearray(self.archive.read(f"{self.root}/data/{key}")), dtype=dtype)


def _rebuild_tensor(storage, offset, size, stride, *_):
    return torch.as_strided(storage, size, stride, offset).clone()


def _plain_list(items, *_):
    return items


def _read_torchscript(path):
    try:
        with zipfile.ZipFile(path) as archive:
            root = next(n for n in archive.namelist() if n.endswith("/data.pkl")).removesuffix("/data.pkl")
            return dict(_tensors(_TorchScriptReader(archive, root).load()))
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path.name} is refused: a TorchScript archive that needs code ({error})") from error
    except (zipfile.BadZipFile, StopIteration, KeyError, ValueError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path.name} is a damaged TorchScript archive: {error}") from error


def _tensors(module, prefix=""):
    for name, value in getattr(module, "attributes", {}).items():
        if isinstance(value, torch.Tensor):
            yield prefix + name, value
        elif isinstance(value, _ScriptModule):
            yield from _tensors(value, f"{prefix}{name}.")
