"""The published weights: what there is, where it lies, and how to know that it is right.

They were trained on LRS2 and are for research and personal use only.  The course neither ships them nor downloads
them unasked; `fetch` is the one place that does, and it says so.
"""

import logging
import os
import shutil
import socket
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from .. import project
from ..errors import CheckpointError
from .formats import FORMATS, recognise

log = logging.getLogger(__name__)

#: Hugging Face model repositories and the folder in them, tried in this order.
MIRRORS = (("camenduru/Wav2Lip", "checkpoints"), ("numz/wav2lip_studio", "Wav2lip"))
LICENCE = "for research and personal use only"


@dataclass(frozen=True)
class PublishedFile:
    """One published weight file.  size_bytes is None where only the hash is known for sure."""

    name: str
    file: str
    kind: str
    what: str
    size_bytes: int | None
    sha256: str


_FILES = (
    PublishedFile(
        "wav2lip",
        "wav2lip.pth",
        "generator",
        "generator, trained without discriminator",
        435807851,
        "b78b681b68ad9fe6c6fb1debc6ff43ad05834a8af8a62ffc4167b7b34ef63c37",
    ),
    PublishedFile(
        "wav2lip_gan",
        "wav2lip_gan.pth",
        "generator",
        "generator, trained with discriminator",
        435801865,
        "ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8",
    ),
    PublishedFile(
        "visual_quality_disc",
        "visual_quality_disc.pth",
        "discriminator",
        "visual-quality discriminator",
        None,
        "b3f8f6f7e954af02f2ffe0f3ea11f3259af89bff6e70933001c7c6bc8c145d96",
    ),
    PublishedFile(
        "lipsync_expert",
        "lipsync_expert.pth",
        "expert",
        "lip-sync expert, used as a loss",
        None,
        "9b9936c721696446eeed353032cab242a8cf0eed8c46cde540366f6ae5493be5",
    ),
    PublishedFile(
        "s3fd",
        "s3fd-619a316812.pth",
        "detector",
        "S3FD face detector",
        89843225,
        "619a31681264d3f7f7fc7a16a42cbbe8b23f31a256f75a366e5a1bcd59b33543",
    ),
    PublishedFile(
        "syncnet_v2",
        "syncnet_v2.model",
        "evaluation",
        "SyncNet for LSE-D and LSE-C (VGG, Oxford)",
        54573114,
        "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442",
    ),
)
REGISTRY = {entry.name: entry for entry in _FILES}


def published() -> dict[str, PublishedFile]:
    """List the published weights by short name: wav2lip, wav2lip_gan, visual_quality_disc, lipsync_expert, ..."""
    return dict(REGISTRY)


def is_published(path: Path) -> bool:
    """Whether a file is one of the published ones, byte for byte."""
    digest = project.content_hash(path)
    return any(entry.sha256 == digest for entry in REGISTRY.values())


def fault_of(path: Path, entry: PublishedFile) -> str:
    """Say in what a file differs from the published one; empty text means that it is the published one."""
    if (found := recognise(path)) not in FORMATS:
        return f"it is {found}"
    digest = project.content_hash(path)
    return "" if digest == entry.sha256 else f"its sha256 is {digest}, the published one {entry.sha256}"


def fetch(name: str, folder) -> Path:
    """Bring published weights into a folder and return the verified path; a file that is there already is not fetched.

    name: short name or file name.  An interrupted download resumes.  Raises CheckpointError without a network, with
    what to do by hand, and for a file whose size or hash is not the published one.
    """
    entry = next((entry for entry in REGISTRY.values() if name in (entry.name, entry.file)), None)
    if entry is None:
        raise CheckpointError(f"no published weights called {name!r}; there are {', '.join(REGISTRY)}")
    target = Path(folder) / entry.file
    if target.exists():
        if fault := fault_of(target, entry):
            raise CheckpointError(f"{target} is not the published {entry.file}: {fault}. Move it away and fetch again.")
        return target
    from huggingface_hub import hf_hub_download

    log.warning("fetching %s (%s), %s", entry.file, entry.what, LICENCE)
    incoming, problems = target.parent / ".incoming", []
    if not _is_reachable():
        problems = [f"{_endpoint()} cannot be reached"]
    for repository, subfolder in MIRRORS if not problems else ():
        try:
            file = f"{subfolder}/{entry.file}"
            arrived = Path(hf_hub_download(repository, file, local_dir=incoming, endpoint=_endpoint()))
        except Exception as error:  # which one depends on the http library that this huggingface_hub uses
            project.raise_if_full(error, target)
            problems.append(f"{repository}: {(str(error).strip() or repr(error)).splitlines()[0][:200]}")
            continue
        if not (fault := fault_of(arrived, entry)):
            project.sync(arrived)
            arrived.replace(target)
            shutil.rmtree(incoming, ignore_errors=True)
            return target
        arrived.unlink()
        problems.append(f"{repository}: {fault}; the download was thrown away")
    raise CheckpointError(
        f"could not fetch {entry.file}. " + "; ".join(problems) + ". Without a network: download "
        f"{_endpoint()}/{MIRRORS[0][0]}/resolve/main/{MIRRORS[0][1]}/{entry.file} elsewhere and put it at {target}; "
        f"its sha256 must be {entry.sha256}."
    )


def _endpoint():
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _is_reachable(timeout_s=10):
    """Whether the hub's computer answers at all: huggingface_hub would try for a minute.  Not asked behind a proxy."""
    if urllib.request.getproxies():
        return True
    address = urllib.parse.urlsplit(_endpoint())
    try:
        socket.create_connection((address.hostname, address.port or 443), timeout_s).close()
    except OSError:
        return False
    return True
