"""Running the generator fast: OpenVINO or torch on a CPU, torch in half precision on a GPU.

The engine takes what the network is shown as plain arrays and gives plain arrays back, so the rest of the package
does not care where it runs. It is made once per network and settings and kept until the weights change.
"""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from ..config import InferenceConfig
from ..errors import SettingError

log = logging.getLogger(__name__)

GRID = 96  # side of the faces that the networks see and draw, in pixels
MIDDLE = GRID // 2  # row from which they draw


@dataclass
class Engine:
    """A generator ready to run. run: (mel (B, 1, 80, 16), faces (B, 6, 96, 96)) float32 -> (B, 3, 96, 96) float32."""

    name: str  # for example "openvino bfloat16 on cpu"
    batch_size: int
    run: Callable

    def draw(self, mels: np.ndarray, faces_bgr: np.ndarray) -> np.ndarray:
        """Draw faces, masked in their lower half, as they say the mels.

        mels: (n, 80, 16) float32; faces_bgr: (n, 96, 96, 3) uint8.  Returns (n, 96, 96, 3) float32 in [0, 1].
        """
        drawn = []
        for start in range(0, len(mels), self.batch_size):
            # A short last batch is filled up with its last item: the network always gets one shape.
            part = np.minimum(np.arange(start, start + self.batch_size), len(mels) - 1)
            reference = (faces_bgr[part].transpose(0, 3, 1, 2) / 255.0).astype(np.float32)
            masked = reference.copy()
            masked[:, :, MIDDLE:] = 0
            drawn.append(self.run(np.float32(mels[part, None]), np.concatenate([masked, reference], axis=1)).copy())
        return np.ascontiguousarray(np.concatenate(drawn)[: len(mels)].transpose(0, 2, 3, 1))


def make_engine(generator: torch.nn.Module, settings: InferenceConfig) -> Engine:
    """The fastest engine for this network on this machine, or the one that the settings ask for.

    Kept until the weights change. Raises SettingError for a GPU that is not there.
    """
    weights = tuple((t.data_ptr(), t._version) for t in [*generator.parameters(), *generator.buffers()])
    batch_size = max(settings.batch_size, 2)
    return build(generator, weights, settings.engine, settings.precision, settings.device, batch_size)


@lru_cache(maxsize=4)  # notebook 09 compares three
def build(
    generator: torch.nn.Module, weights: tuple, kind: str, precision: str, device: str, batch_size: int
) -> Engine:
    """A new engine; weights: only to tell one state of the network from another."""
    has_gpu = torch.cuda.is_available()
    if device == "auto":
        device = "cuda" if has_gpu else "cpu"
    if device == "cuda" and not has_gpu:
        raise SettingError("device 'cuda': torch sees no GPU here; use device='auto' or 'cpu'")
    network = copy.deepcopy(generator).eval().requires_grad_(False)
    kind = "torch" if device == "cuda" or kind == "torch" else "openvino"
    precision, run = {"torch": on_torch, "openvino": on_openvino}[kind](network, precision, device, batch_size)
    log.info("engine: %s %s on %s", kind, precision, device)
    return Engine(f"{kind} {precision} on {device}", batch_size, run)


def on_torch(network: torch.nn.Module, precision: str, device: str, batch_size: int) -> tuple[str, Callable]:
    """The network as it is, on a GPU in the half precision that it has instructions for."""
    if precision == "auto":
        half = "bfloat16" if device == "cuda" and torch.cuda.get_device_capability()[0] >= 8 else "float16"
        precision = half if device == "cuda" else "float32"
    dtype, layout = getattr(torch, precision), torch.channels_last if device == "cuda" else torch.contiguous_format
    network = network.to(device, dtype, memory_format=layout)

    def run(mel, faces):
        with torch.inference_mode():
            mel, faces = (torch.from_numpy(a).to(device, dtype) for a in (mel, faces))
            return network(mel, faces.contiguous(memory_format=layout)).float().cpu().numpy()

    return precision, run


def on_openvino(network: torch.nn.Module, precision: str, device: str, batch_size: int) -> tuple[str, Callable]:
    """The network converted and compiled for this CPU; in bfloat16 where the CPU has it."""
    import openvino as ov

    core = ov.Core()
    if precision == "auto":
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bfloat16" if has_bf16 else "float32"
    shapes = [batch_size, 1, 80, 16], [batch_size, 6, GRID, GRID]
    few = [torch.zeros(2, *shape[1:]) for shape in shapes]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: deprecated, and shapes that are fixed here on purpose
        traced = torch.jit.trace(network, few, check_trace=False)
        model = ov.convert_model(traced, example_input=few, input=[*shapes])
    hints = {"INFERENCE_PRECISION_HINT": precision.replace("float", "f"), "PERFORMANCE_HINT": "LATENCY"}
    hints["INFERENCE_NUM_THREADS"] = torch.get_num_threads()  # one in a worker of many
    compiled = core.compile_model(model, "CPU", hints)
    request = compiled.create_infer_request()

    def run(mel, faces):
        return request.infer([mel, faces], share_inputs=True)[compiled.output(0)]

    return precision, run
