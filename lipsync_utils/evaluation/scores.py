"""What is measured of a model on a clip: a row of results.csv."""

from dataclasses import dataclass

from ..records import Reason

#: Measures that compare with the true pictures, so exist for a clip's own speech only.
NEED_TRUTH = ("lmd_percent", "l1", "psnr_db", "ssim")
#: Sync is measured by the published SyncNet where its weights are given, by the embedded judge otherwise.
SYNC = ("lse_d", "lse_c", "judge_distance", "judge_confidence", "offset_frames")


@dataclass(frozen=True)
class Score:
    """A row of results.csv: one model on one clip. The measures are explained in metrics.MEASURES.

    model: "truth" is the video as it was filmed.  video_id: clips of one video are not independent, so intervals are
    made over videos.  group: "speaker" (whom the models are tuned on) or "guest".  speech: "own" is the clip's own
    sound, so that the true pictures are known; "other" is the sound of the clip `speech_id`, as a user would have it.
    judge: the network behind the sync measures.
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
    judge_distance: float | None
    judge_confidence: float | None
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
