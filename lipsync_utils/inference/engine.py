"""Running the generator fast: OpenVINO or torch on a CPU, torch in half precision on a GPU.

The engine takes what the network is shown as plain arrays and gives plain arrays back, so the rest of the package
does not care where it runs. It is made once per network and settings and kept until the weights change.
"""

from __future__ import annotations

import copy
import logging
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from ..errors import SettingError

log = logging.getLogger(__name__)

GRID = 96  # side of the faces that the networks see and draw, in pixels
MIDDLE = GRID // 2  # row from which they draw
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.02}  # mean error against torch above which OpenVINO is not used
_made: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


@dataclass
class Engine:
    """A generator ready to run. run: (mel (B, 1, 80, 16), faces (B, 6, 96, 96)) float32 -> (B, 3, 96, 96) float32."""

    name: str  # for example "openvino bfloat16 on cpu"
    why: str
    batch_size: int
    run: Callable = field(repr=False)

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


def make_engine(
    generator: torch.nn.Module,
    *,
    engine: str = "auto",
    precision: str = "auto",
    device: str = "auto",
    batch_size: int = 16,
    compile_network: bool = False,
) -> Engine:
    """The fastest engine for this network on this machine, or the one asked for.

    engine: "auto", "openvino" (CPU only) or "torch".  precision: "auto", "float32", "bfloat16", "float16".
    device: "auto", "cpu", "cuda".  Raises SettingError for a choice that this machine cannot do.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError("device 'cuda': torch sees no GPU here; use device='auto' or 'cpu'")
    if device == "cpu" and precision == "float16":
        raise SettingError("precision 'float16' is for GPUs; on a CPU use 'auto', 'float32' or 'bfloat16'")
    key = engine, precision, device, max(batch_size, 2), compile_network
    stamp = [(t.data_ptr(), t._version) for t in [*generator.parameters(), *generator.buffers()]]
    kept = _made.setdefault(generator, {})
    if key not in kept or kept[key][0] != stamp:
        kept[key] = stamp, build(copy.deepcopy(generator).eval().requires_grad_(False), *key)
        log.info("engine: %s (%s)", kept[key][1].name, kept[key][1].why)
    return kept[key][1]


def build(
    network: torch.nn.Module, engine: str, precision: str, device: str, batch_size: int, compiled: bool
) -> Engine:
    """OpenVINO on a CPU; torch where it is asked for, on a GPU, or where OpenVINO fails or draws something else."""
    why = "asked for"
    if device == "cpu" and engine != "torch":
        try:
            return openvino_engine(network, precision, batch_size)
        except Exception as error:  # whatever goes wrong in the conversion: torch always works
            if engine == "openvino":
                raise SettingError(
                    f"engine 'openvino' cannot run this network; use engine='auto' or 'torch' ({error})"
                ) from error
            log.warning("OpenVINO cannot run this network, torch does: %s", str(error).strip().splitlines()[-1][:200])
            why = f"OpenVINO could not be used: {type(error).__name__}"
    if precision == "auto" and device == "cpu":
        precision = "float32"
    elif precision == "auto":
        newer = torch.cuda.get_device_capability()[0] >= 8
        precision = "bfloat16" if newer else "float16"
        why = f"fastest here: this GPU {'has' if newer else 'lacks'} bfloat16 instructions"
    dtype, layout = getattr(torch, precision), torch.channels_last if device == "cuda" else torch.contiguous_format
    network = network.to(device, dtype, memory_format=layout)
    if compiled:
        network = torch.compile(network)

    def run(mel, faces):
        with torch.inference_mode():
            mel, faces = (torch.from_numpy(a).to(device, dtype) for a in (mel, faces))
            return network(mel, faces.contiguous(memory_format=layout)).float().cpu().numpy()

    return Engine(f"torch {precision} on {device}", why, batch_size, run)


def openvino_engine(network: torch.nn.Module, precision: str, batch_size: int) -> Engine:
    """Convert the torch module directly and compile it for this CPU; its output is checked against torch once."""
    import openvino as ov

    core, why = ov.Core(), "asked for"
    if precision == "auto":
        has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bfloat16" if has_bf16 else "float32"
        why = f"fastest here: this CPU {'has' if has_bf16 else 'lacks'} bfloat16 instructions"
    rng = np.random.default_rng(0)
    mel = rng.uniform(-4, 4, (batch_size, 1, 80, 16)).astype(np.float32)
    faces = rng.random((batch_size, 6, GRID, GRID), np.float32)
    few, other = ([torch.from_numpy(a[:2][::step].copy()) for a in (mel, faces)] for step in (-1, 1))
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: deprecated, and shapes that are fixed here on purpose
        traced = torch.jit.trace(network, few, check_trace=False)
        model = ov.convert_model(traced, example_input=few, input=[list(mel.shape), list(faces.shape)])
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", hints)
    request = compiled.create_infer_request()

    def run(mel, faces):
        return request.infer([mel, faces], share_inputs=True)[compiled.output(0)]

    with torch.inference_mode():  # not what was traced: a value frozen by the tracer would show
        expected = network(*other).numpy()
    error = float(np.abs(run(mel, faces)[:2] - expected).mean())
    if not error <= TOLERANCE[precision]:
        raise ValueError(f"its output differs from torch's by {error:.2g} on average")
    return Engine(f"openvino {precision} on cpu", why, batch_size, run)
