"""Running the generator fast: OpenVINO or torch on a CPU, torch in half precision on a GPU.

The engine takes what the network is shown as plain arrays and gives plain arrays back, so the rest of the package
does not care where it runs. It is made once per network and settings and kept.
"""

from __future__ import annotations

import copy
import logging
import warnings
import weakref
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch

from ..errors import SettingError

log = logging.getLogger(__name__)

SIZE = 96
MIDDLE = SIZE // 2
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.02}  # mean error against torch above which OpenVINO is not used
_made: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


@dataclass
class Engine:
    """A generator ready to run. run: (mel (B, 1, 80, 16), faces (B, 6, 96, 96)) float32 -> (B, 3, 96, 96) float32."""

    backend: str
    precision: str
    device: str
    why: str
    batch_size: int
    run: object = field(repr=False)

    @property
    def name(self) -> str:
        """A short description, for example "openvino bfloat16 on cpu"."""
        return f"{self.backend} {self.precision} on {self.device}"

    def draw(self, mels: np.ndarray, faces_bgr: np.ndarray) -> np.ndarray:
        """Draw faces.

        mels: (n, 80, 16) float32; faces_bgr: (n, 96, 96, 3) uint8.  Returns (n, 96, 96, 3) float32 in [0, 1].
        """
        drawn = np.empty((len(mels), SIZE, SIZE, 3), np.float32)
        for start in range(0, len(mels), self.batch_size):
            part = slice(start, start + self.batch_size)
            mel, faces = network_input(mels[part], faces_bgr[part], self.batch_size)
            out = self.run(mel, faces)
            drawn[part] = out[: len(mels[part])].transpose(0, 2, 3, 1)
        return drawn


def network_input(mels: np.ndarray, faces_bgr: np.ndarray, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """What the network sees: mel (batch, 1, 80, 16) and faces (batch, 6, 96, 96), masked first, reference second.

    A short last batch is filled up by repeating its last item, so that the network always gets one shape.
    """
    fill = [*range(len(mels)), *[len(mels) - 1] * (batch - len(mels))]
    reference = (faces_bgr[fill].transpose(0, 3, 1, 2) / 255.0).astype(np.float32)
    masked = reference.copy()
    masked[:, :, MIDDLE:] = 0
    return np.ascontiguousarray(mels[fill, None], np.float32), np.concatenate([masked, reference], axis=1)


@contextmanager
def evaluating(generator: torch.nn.Module, no_gradients=torch.inference_mode):
    """Put a network into eval mode for a while; its own mode comes back afterwards."""
    was_training = generator.training
    generator.eval()
    try:
        with no_gradients():
            yield generator
    finally:
        generator.train(was_training)


def make_engine(
    generator: torch.nn.Module,
    *,
    engine: str = "auto",
    precision: str = "auto",
    device: str = "auto",
    batch_size: int = 16,
    compile_network: bool = False,
) -> Engine:
    """The fastest engine for this network on this machine, or the one asked for; made once and kept.

    engine: "auto", "openvino" (CPU only) or "torch".  precision: "auto", "float32", "bfloat16", "float16".
    device: "auto", "cpu", "cuda".  Raises SettingError for a choice that this machine cannot do.
    """
    device, batch_size = choose_device(device), max(batch_size, 2)
    if device == "cpu" and engine == "torch":
        return torch_engine(generator, precision, batch_size, "asked for")
    stamp = tuple((t.data_ptr(), t._version) for t in [*generator.parameters(), *generator.buffers()])
    key = (engine, precision, device, batch_size, compile_network)
    kept = _made.setdefault(generator, {})
    if kept.get(key, (None,))[0] == stamp:
        return kept[key][1]
    if device == "cuda":
        made = cuda_engine(generator, precision, batch_size, compile_network)
    else:
        made = cpu_engine(generator, precision, batch_size, must=engine == "openvino")
    log.info("engine: %s (%s)", made.name, made.why)
    if made.backend == "openvino" or made.device == "cuda":  # plain torch holds on to the network itself
        kept[key] = (stamp, made)
    return made


def choose_device(device: str) -> str:
    """cuda where there is one, else cpu; as asked otherwise. Raises SettingError for a GPU that is not there."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise SettingError("device 'cuda': torch sees no GPU here; use device='auto' or 'cpu'")
    return device


def cpu_engine(generator, precision: str, batch_size: int, must: bool) -> Engine:
    """OpenVINO, or torch where OpenVINO is not installed, cannot convert the network, or draws something else."""
    try:
        return openvino_engine(generator, precision, batch_size)
    except SettingError:
        raise
    except Exception as error:  # whatever goes wrong in the conversion: torch always works
        if must:
            raise SettingError(
                f"engine 'openvino' cannot run this network; use engine='auto' or 'torch' ({error})"
            ) from error
        log.warning("OpenVINO cannot run this network, torch does: %s", str(error).strip().splitlines()[-1][:200])
        return torch_engine(generator, precision, batch_size, f"OpenVINO could not be used: {type(error).__name__}")


def openvino_engine(generator, precision: str, batch_size: int) -> Engine:
    """Convert the torch module directly and compile it for this CPU; its output is checked against torch once."""
    import openvino as ov

    core = ov.Core()
    has_bf16 = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        precision = "bfloat16" if has_bf16 else "float32"
        why = f"fastest here: this CPU {'has' if has_bf16 else 'lacks'} bfloat16 instructions"
    else:
        why = "asked for"
    if precision == "float16":
        raise SettingError("precision 'float16' is for GPUs; on a CPU use 'auto', 'float32' or 'bfloat16'")
    mel, faces = noise_input(batch_size, seed=0)
    few, other = ([torch.from_numpy(a[:2].copy()) for a in noise_input(2, seed)] for seed in (1, 0))
    with evaluating(generator):
        expected = generator(*other).numpy()
    with evaluating(generator, torch.no_grad), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer: deprecated, and shapes that are fixed here on purpose
        traced = torch.jit.trace(generator, few, check_trace=False)
        model = ov.convert_model(traced, example_input=few, input=[list(mel.shape), list(faces.shape)])
    hints = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bfloat16" else "f32", "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", hints)
    request = compiled.create_infer_request()

    def run(mel, faces):
        return request.infer([mel, faces], share_inputs=True)[compiled.output(0)]

    mel[:2], faces[:2] = (t.numpy() for t in other)  # not what was traced: a value frozen by the tracer would show
    error = float(np.abs(run(mel, faces)[:2] - expected).mean())
    if not error <= TOLERANCE[precision]:
        raise ValueError(f"its output differs from torch's by {error:.2g} on average")
    return Engine("openvino", precision, "cpu", why, batch_size, run)


def noise_input(batch: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise in the shapes of network_input()."""
    rng = np.random.default_rng(seed)
    mels = rng.uniform(-4, 4, (batch, 80, 16)).astype(np.float32)
    faces = rng.integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8)
    return network_input(mels, faces, batch)


def torch_engine(generator, precision: str, batch_size: int, why: str) -> Engine:
    """Plain torch on the CPU: float32 unless bfloat16 is asked for."""
    if precision == "float16":
        raise SettingError("precision 'float16' is for GPUs; on a CPU use 'auto', 'float32' or 'bfloat16'")
    precision = "float32" if precision == "auto" else precision

    def run(mel, faces):
        with evaluating(generator), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            return generator(torch.from_numpy(mel), torch.from_numpy(faces)).float().numpy()

    return Engine("torch", precision, "cpu", why, batch_size, run)


def cuda_engine(generator, precision: str, batch_size: int, compile_network: bool) -> Engine:
    """Torch on the GPU: bfloat16 where the GPU has it (Ampere and newer), else float16, channels last."""
    why = "asked for"
    if precision == "auto":
        newer = torch.cuda.get_device_capability()[0] >= 8
        precision = "bfloat16" if newer else "float16"
        why = f"fastest here: this GPU {'has' if newer else 'lacks'} bfloat16 instructions"
    dtype = getattr(torch, precision)
    network = copy.deepcopy(generator).eval().requires_grad_(False)
    network = network.to("cuda", dtype, memory_format=torch.channels_last)
    if compile_network:
        network = torch.compile(network)

    def run(mel, faces):
        with torch.inference_mode():
            mel, faces = (torch.from_numpy(a).to("cuda", dtype, non_blocking=True) for a in (mel, faces))
            return network(mel, faces.contiguous(memory_format=torch.channels_last)).float().cpu().numpy()

    return Engine("torch", precision, "cuda", why, batch_size, run)
