"""What can be measured: for each number a title, a unit and which way is better.  No metric without them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """A number that is measured.  better: "lower", "higher", or a target such as "1" to come near to."""

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


MEASURES = {
    measure.name: measure
    for measure in (
        Measure(
            "lse_d", "LSE-D", "distance", "lower", "distance of lips and sound at the best offset, published SyncNet"
        ),
        Measure("lse_c", "LSE-C", "distance", "higher", "how much better the best offset is than the median one, same"),
        Measure(
            "judge_distance",
            "judge's distance",
            "distance",
            "lower",
            "distance of lips and sound at the best offset, embedded judge; not comparable with LSE-D",
            3,
        ),
        Measure(
            "judge_confidence",
            "judge's confidence",
            "distance",
            "higher",
            "how much better the best offset is than the median one, embedded judge; not comparable with LSE-C",
            3,
        ),
        Measure(
            "offset_frames", "offset", "frames", "0", "sound against picture at the best match; a frame is 40 ms", 1
        ),
        Measure(
            "mouth_correlation",
            "mouth opening",
            "r",
            "higher",
            "correlation with the mouth of the true video of that speech, both measured by landmarks",
        ),
        Measure(
            "mouth_truth_correlation",
            "mouth opening against ground truth",
            "r",
            "higher",
            "correlation with the opening that the talk show was rendered with",
        ),
        Measure("lmd_percent", "LMD", "% of eye distance", "lower", "distance of mouth landmarks to the true ones"),
        Measure("l1", "L1", "of 255", "lower", "mean difference of the face's pixels to the true ones"),
        Measure("psnr_db", "PSNR", "dB", "higher", "likeness of the face's pixels to the true ones", 1),
        Measure("ssim", "SSIM", "0 to 1", "higher", "likeness of local structure to the true picture", 3),
        Measure("sharpness_ratio", "mouth sharpness", "× truth", "1", "variance of the Laplacian in the mouth region"),
        Measure(
            "identity_distance",
            "identity",
            "distance",
            "lower",
            "face_recognition's distance to the true picture; 0.6 is somebody else",
        ),
        Measure(
            "flicker",
            "flicker",
            "of 255",
            "lower",
            "changes from frame to frame outside the mouth that the video did not have",
        ),
        Measure("fid", "FID", "distance", "lower", "distance of two crowds of faces as Inception sees them", 1),
    )
}
