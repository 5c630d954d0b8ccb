"""What is measured: a row of results.csv, and for each of its numbers a name, a unit and which way is better."""
from dataclasses import dataclass

from ..records import Reason


@dataclass(frozen=True)
class Score:
    """A row of results.csv: one model on one clip.

    model: "truth" is the video as it was filmed.  video_id: clips of one video are not independent, so intervals are
    made over videos.  group: "speaker" (whom the models are tuned on) or "guest".  speech: "own" is the clip's own
    sound, so that the true pictures are known; "other" is the sound of the clip `speech_id`, as a user would have it.
    judge: the network behind LSE-D, LSE-C and the offset.
    """

    model: str
    clip_id: str
    video_id: str
    group: str
    speech: str
    speech_id: str
    judge: str
    frames: int | None
    lse_d: float | None
    lse_c: float | None
    offset_frames: float | None
    mouth_correlation: float | None
    mouth_truth_correlation: float | None
    lmd_percent: float | None
    l1: float | None
    psnr_db: float | None
    ssim: float | None
    sharpness_ratio: float | None
    identity_distance: float | None
    flicker: float | None
    reason: Reason | None
    note: str | None


@dataclass(frozen=True)
class Measure:
    """A number of a Score. better: "lower", "higher", or a target such as "1" that both sides should come near to."""

    name: str
    title: str
    unit: str
    better: str
    meaning: str
    decimals: int = 2

    @property
    def arrow(self) -> str:
        """Which way is better, as a sign: down, up, or towards the target."""
        return {"lower": "↓", "higher": "↑"}.get(self.better, f"→ {self.better}")

    @property
    def label(self) -> str:
        """Title, unit and arrow: "PSNR (dB) ↑"."""
        return f"{self.title} ({self.unit}) {self.arrow}" if self.unit else f"{self.title} {self.arrow}"

    def badness(self, value: float) -> float:
        """The value turned so that lower is better: itself, its negative, or the distance to the target."""
        if self.better == "lower":
            return value
        return -value if self.better == "higher" else abs(value - float(self.better))


MEASURES = {measure.name: measure for measure in (
    Measure("lse_d", "LSE-D", "", "lower", "distance of lips and sound in the judge's eyes at the best offset"),
    Measure("lse_c", "LSE-C", "", "higher", "how much better the best offset is than the others"),
    Measure("offset_frames", "offset", "frames", "0", "sound against picture at the best match; one frame is 40 ms", 1),
    Measure("mouth_correlation", "mouth opening", "r", "higher",
            "correlation with the mouth of the true video of that speech, both measured by landmarks"),
    Measure("mouth_truth_correlation", "mouth opening against ground truth", "r", "higher",
            "correlation with the opening that the talk show was rendered with"),
    Measure("lmd_percent", "LMD", "% of eye distance", "lower", "distance of mouth landmarks to the true ones"),
    Measure("l1", "L1", "of 255", "lower", "mean difference of the face's pixels to the true ones"),
    Measure("psnr_db", "PSNR", "dB", "higher", "likeness of the face's pixels to the true ones", 1),
    Measure("ssim", "SSIM", "", "higher", "likeness of local structure to the true picture", 3),
    Measure("sharpness_ratio", "mouth sharpness", "× truth", "1", "variance of the Laplacian in the mouth region"),
    Measure("identity_distance", "identity", "distance", "lower",
            "face_recognition's distance to the true picture; 0.6 is somebody else"),
    Measure("flicker", "flicker", "of 255", "lower",
            "changes from frame to frame outside the mouth that the video did not have"),
)}

#: Measures that need the true pictures, so exist for speech "own" only.
NEED_TRUTH = ("lmd_percent", "l1", "psnr_db", "ssim")
