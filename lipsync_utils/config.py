"""Settings: one frozen dataclass per stage, checked where they are made, and two presets that hold one of each.

`sample` runs the whole course on the embedded talk show on a laptop; `article` has the article's numbers, the
networks at full width and the published weights, and wants a GPU.
"""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args, get_origin

from .errors import SettingError


def check(condition: bool, message: str) -> None:
    """Raise SettingError with `message` unless the condition holds."""
    if not condition:
        raise SettingError(message)


def check_fields(settings: Any, **allowed: float | tuple[float, float]) -> None:
    """Raise SettingError for a word that its field does not know, or a number that is not allowed.

    allowed: by name, the least number, or (least, largest).
    """
    for known in dataclasses.fields(settings):
        name, value, words = known.name, getattr(settings, known.name), get_args(known.type)
        if get_origin(known.type) is Literal:
            check(value in words, f"{name} must be one of {', '.join(words)}, got {value!r}")
        if name in allowed and value is not None:
            least, most = allowed[name] if isinstance(allowed[name], tuple) else (allowed[name], math.inf)
            limits = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            check(least <= value <= most, f"{name} must be {limits}, got {value}")


Alignment = Literal["reference", "centred", "inference"]  # of mel windows, see audio.ALIGNMENTS


@dataclass(frozen=True)
class TalkshowConfig:
    """The embedded sample: how many videos of the rendered talk show, how long, how large."""

    n_videos: int = 8
    seconds: float = 30.0
    n_held_out: int = 12  # short videos of the host alone, for evaluation only
    held_out_seconds: float = 6.0
    width_px: int = 640
    height_px: int = 480
    seed: int = 1

    def __post_init__(self):
        check_fields(self, n_videos=1, n_held_out=0, seconds=2)


@dataclass(frozen=True)
class CollectConfig:
    """Stage 01: fetching videos."""

    max_height_px: int = 1080  # the largest picture asked of a site
    pause_s: float = 5.0  # before each download: be polite
    retries: int = 3
    timeout_s: float = 60.0

    def __post_init__(self):
        check_fields(self, pause_s=0)


@dataclass(frozen=True)
class SplitConfig:
    """Stage 02: silences, parts and clips (article: -40 dBFS, 400 ms, 10 s, 5 s, 1 s)."""

    silence_dbfs: float = -40.0  # quieter than this is silence
    relative_to_loudness: bool = False  # silence_dbfs counts from the video's own loudness
    min_silence_ms: int = 400  # a shorter pause does not cut
    keep_silence_ms: int = 150  # kept at both ends: the detector bites into soft sounds; 0: the article's cuts
    seek_step_ms: int = 1  # resolution of the detector
    max_part_s: float = 10.0  # longer parts are cut into pieces
    piece_s: float = 5.0  # of this length
    min_clip_s: float = 1.0  # shorter ones are left out
    count_kept_silence: bool = True  # towards min_clip_s; False: only the part itself counts, as in the article
    fps: float = 25.0  # of the clips, constant
    crf: int = 16  # x264 quality of the clips, smaller is better

    def __post_init__(self):
        check_fields(self, silence_dbfs=(-99, -1), min_silence_ms=1, keep_silence_ms=(0, self.min_silence_ms))
        check(
            0 < self.min_clip_s <= self.piece_s <= self.max_part_s,
            f"need 0 < min_clip_s <= piece_s <= max_part_s, got {self.min_clip_s}, {self.piece_s}, {self.max_part_s}",
        )


@dataclass(frozen=True)
class SpeakerConfig:
    """Stage 03: which clips show the speaker."""

    tolerance: float = 0.5  # largest face_recognition distance that counts as the same person
    samples_per_s: float = 2.0  # frames looked at
    keep: tuple[str, ...] = ("speaker_alone",)
    min_speaker_share: float = 0.9  # of the looked-at frames with a face that must show the speaker
    min_face_share: float = 0.6  # of the looked-at frames that must show a face at all

    def __post_init__(self):
        check_fields(self, tolerance=(0.01, 0.99), samples_per_s=0.01)


@dataclass(frozen=True)
class FacesConfig:
    """Finding and tracking faces."""

    detector: Literal["hog", "cnn", "s3fd"] = "hog"  # hog and cnn are dlib's, s3fd needs its published weights
    detect_every: int = 5  # frames between two detections; tracking fills in
    min_face_px: int = 40  # smaller faces are not looked for
    min_score: float = 0.0  # of the detector
    max_gap_frames: int = 12  # a track survives so many frames without its face
    same_person: float = 0.55  # distance below which two tracks are one person after a shot change
    s3fd_weights: str | None = None
    rescue: bool = True  # ask cnn once where key frames of a shot show no face

    def __post_init__(self):
        check_fields(self, detect_every=1)


@dataclass(frozen=True)
class PreprocessConfig:
    """Stage 04: crops, sound and mels of the kept clips."""

    jpeg_quality: int = 95
    crop_px: int | None = None  # None: crops keep their size, as in the reference; else resized to this side
    max_gap_share: float = 0.2  # of a clip's frames that may lack the face
    min_face_px: int = 48
    val_share: float = 0.25  # of the videos (article: 60 train, 20 val)
    seed: int = 1

    def __post_init__(self):
        check_fields(self, val_share=(0, 0.99))


@dataclass(frozen=True)
class InferenceConfig:
    """Stage 08: a chosen mouth follows speech."""

    paste: Literal["blend", "reference"] = "blend"  # a soft-edged lower face, or the published code's square
    longer_speech: Literal["ping-pong", "cut"] = "ping-pong"  # longer than the video: it turns back, or ends the speech
    static: bool = False  # the article's "static video": one frame of the video stands for all
    static_frame: int = 0
    close_mouth: bool = True  # in the speech's pauses; False: there the source's own mouth is shown
    keep_sound: bool = False  # the article's "overlay the two audio samples": the video's own sound underneath
    kept_sound_db: float = -9.0  # how loud that is
    picture_fps: float = 25.0  # frame rate of a result made from a picture
    alignment: Alignment = "inference"  # of sound and frames, as the network was trained: checkpoints.metadata tells
    min_face_px: int = 40  # a smaller face cannot be redrawn well enough
    #: Of the words "AI-generated".
    label: Literal["bottom-left", "bottom-right", "top-left", "top-right", "none"] = "bottom-left"
    crf: int = 18  # x264 quality, smaller is better
    engine: Literal["auto", "openvino", "torch"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"  # auto: bfloat16 where the machine has it
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_size: int = 16  # frames drawn at once
    # Only with paste="reference", and in its order: top, bottom, left, right.
    pads_px: tuple[int, int, int, int] = (0, 10, 0, 0)
    crop_px: tuple[int, int, int, int] = (0, -1, 0, -1)
    box_px: tuple[int, int, int, int] = (-1, -1, -1, -1)  # instead of a detected face; in both modes
    smooth_boxes: bool = True
    shrink: int = 1  # both sides divided by this
    turn_clockwise: bool = False

    def __post_init__(self):
        check_fields(self, static_frame=0)
        changed = self.crop_px != (0, -1, 0, -1) or self.shrink > 1 or self.turn_clockwise
        check(self.paste == "reference" or not changed, "crop_px, shrink and turn_clockwise want paste='reference'")


@dataclass(frozen=True)
class EvaluationConfig:
    """Stage 09: the models on clips that none of them was trained on, and how sure the numbers are."""

    max_clips: int | None = None  # of the speaker; None: all that are held out
    guest_clips: int = 4  # rendered clips of people the models were not tuned on (talk show only)
    speech: tuple[str, ...] = ("own", "other", "silence")  # each clip says its own sentence, the next clip's, nothing
    silent_clips: int = 4  # of the speaker, that also say nothing
    identity_frames: int = 2  # frames per clip that face_recognition looks at
    bootstrap: int = 10_000  # resamplings of the videos for an interval
    level: float = 0.95  # of the intervals
    judge_weights: str | None = None  # of another judge of the course's kind; None: the embedded one
    syncnet_weights: str | None = None  # published syncnet_v2.model for LSE-D and LSE-C; None: the embedded judge
    inception_weights: str | None = None  # for FID; None: no FID
    seed: int = 1

    def __post_init__(self):
        check_fields(self, max_clips=1, guest_clips=0)
        kinds = {"own", "other", "silence"}
        check({"own"} <= set(self.speech) <= kinds, f"speech is own, and other or silence too, got {self.speech}")


@dataclass(frozen=True)
class WindowsConfig:
    """Windows of five frames and their sound: what a network sees in training."""

    alignment: Alignment = "inference"  # of the generator's mel windows; measured in 05
    min_distance: int = 5  # frames between a window and its reference or its false match; the reference: 1
    val_windows: int = 128  # always the same ones, spread evenly over the held-out clips
    max_drift_s: float = 0.12  # between the lengths of a clip's picture and sound; more: the clip is refused
    seed: int = 1


@dataclass(frozen=True)
class TrainConfig:
    """One training run of the expert or the generator. The objective is data: the same loop runs all of them."""

    network: Literal["generator", "expert"] = "generator"  # what is trained
    start: str = "embedded"  # first weights: embedded, english, scratch, the short name of published weights, or a path
    expert: str = "embedded"  # the judge of lip-sync in the loss, likewise; unused where sync_weight is 0
    discriminator: str = "embedded"  # its first weights, likewise; unused where disc_weight is 0
    width: float = 0.25  # of all networks; 1.0: the published size
    steps: int = 200  # optimiser steps in all
    batch_size: int = 8  # windows a step and process
    learning_rate: float = 1e-4
    disc_learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam; the reference with discriminator: 0.5, 0.999
    warmup_steps: int = 0  # the rate rises from 0 so long
    decay: bool = False  # the rate falls to 0 along a cosine; the reference keeps it constant
    #: ramp: rises over the whole run; reference: 0 until an evaluation is below 0.75, a trap.
    sync_schedule: Literal["constant", "ramp", "reference"] = "constant"
    sync_weight: float = 0.03
    mouth_weight: float = 1.0  # of the mouth's pixels in L1; 1: as published; more: for training from scratch
    disc_weight: float = 0.0  # 0: without the discriminator; the reference with it: 0.07
    expert_mode: Literal["eval", "train"] = "eval"  # frozen, or the reference: statistics of the batch, and they drift
    expert_loss: Literal["bce", "contrastive"] = "bce"  # of training the expert: the reference's, or both in one batch
    windows_per_clip: int = 1  # of a batch that come from one clip; the contrastive loss wants several
    freeze_norm: bool = False  # batch norm keeps its statistics while the network is tuned
    augment: bool = False  # crops with a margin are augmented, faces and sound: for pretraining
    frames: int = 5  # of each window that are drawn; 1, for likeness alone: more variety in the time
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # auto: what the machine is fast in
    workers: int = 0  # processes that load data
    evaluate_every: int = 50  # steps; validation is fixed and deterministic, and draws strips of samples
    save_every: int = 100
    min_expert_accuracy: float = 0.6  # pre-flight: an expert that is worse than this on the data is no judge
    seed: int = 1

    def __post_init__(self):
        rest = round(1 - self.sync_weight, 9)
        check_fields(self, steps=1, batch_size=self.windows_per_clip, sync_weight=(0, 1), disc_weight=(0, rest))
        check(self.batch_size % self.windows_per_clip == 0, f"batch_size must be a multiple of {self.windows_per_clip}")
        check(min(self.learning_rate, self.disc_learning_rate) > 0, "learning_rate must be positive")


EXPERT_SAMPLE = TrainConfig(
    network="expert",
    steps=150,
    batch_size=32,
    windows_per_clip=8,
    expert_loss="contrastive",
    learning_rate=3e-4,
    sync_weight=0.0,
    evaluate_every=50,
    save_every=150,
)
GENERATOR_SAMPLE = TrainConfig(
    steps=150,
    learning_rate=2e-4,
    disc_learning_rate=2e-5,
    sync_weight=0.05,
    freeze_norm=True,
    evaluate_every=50,
    save_every=75,
)
# The published code: batch 64 for the expert, 16 for the generator; sync weight 0.01 without, 0.03 with discriminator.
EXPERT_ARTICLE = TrainConfig(
    network="expert",
    width=1.0,
    start="lipsync_expert",
    steps=20_000,
    batch_size=64,
    sync_weight=0.0,
    workers=4,
    evaluate_every=1000,
    save_every=1000,
)
GENERATOR_ARTICLE = TrainConfig(
    width=1.0,
    start="wav2lip_gan",
    expert="lipsync_expert",
    discriminator="visual_quality_disc",
    steps=60_000,
    batch_size=16,
    workers=4,
    evaluate_every=3000,
    save_every=1000,
)


@dataclass(frozen=True)
class Preset:
    """One of each: everything that a whole run of the course needs to know."""

    name: str
    data: str  # name of the data set under data/
    talkshow: TalkshowConfig = TalkshowConfig()
    collect: CollectConfig = CollectConfig()
    split: SplitConfig = SplitConfig()
    speaker: SpeakerConfig = SpeakerConfig()
    faces: FacesConfig = FacesConfig()
    preprocess: PreprocessConfig = PreprocessConfig()
    windows: WindowsConfig = WindowsConfig()
    expert: TrainConfig = EXPERT_SAMPLE
    generator: TrainConfig = GENERATOR_SAMPLE
    disc_weight: float = 0.07  # of notebook 07; as published
    inference: InferenceConfig = InferenceConfig()
    evaluation: EvaluationConfig = EvaluationConfig()


PRESETS = {
    # 0.005 with a rate of 1e-4 drowned the likeness of the small networks: held-out L1 rose from 0.030 to 0.041.
    "sample": Preset(name="sample", data="sample", windows=WindowsConfig(val_windows=64), disc_weight=0.001),
    "article": Preset(
        name="article",
        data="article",
        split=SplitConfig(count_kept_silence=False),
        windows=WindowsConfig(alignment="reference", val_windows=1024),
        expert=EXPERT_ARTICLE,
        generator=GENERATOR_ARTICLE,
        evaluation=EvaluationConfig(max_clips=60),
    ),
}


def preset(name: str) -> Preset:
    """The preset called `name`. Raises SettingError naming the ones there are."""
    if name not in PRESETS:
        raise SettingError(f"no preset named {name!r}: use {' or '.join(map(repr, PRESETS))}")
    return PRESETS[name]


def override(settings: Any, **values: Any) -> Any:
    """A copy of a settings dataclass with some fields changed; a value of None keeps the field.

    Raises SettingError for a field that does not exist, naming those that do.
    """
    known = {f.name for f in dataclasses.fields(settings)}
    unknown = sorted(values.keys() - known)
    check(not unknown, f"{type(settings).__name__} has no field {unknown}; it has {sorted(known)}")
    return replace(settings, **{k: v for k, v in values.items() if v is not None})


def settings_hash(*parts: Any) -> str:
    """A short hash of settings (dataclasses, dicts, numbers, strings): equal settings give equal hashes."""
    plain = [dataclasses.asdict(p) if dataclasses.is_dataclass(p) else p for p in parts]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class StudyConfig:
    """The long study of stage 09: what fine-tuning on a speaker is worth, and what each trap costs."""

    size: str = "full"  # its name in the tables
    training: TrainConfig = override(GENERATOR_SAMPLE, start="english", steps=200, sync_weight=0.01)
    data: str | None = None  # a data set of your own; None: speakers are rendered
    speaker_s: float = 90.0  # of the speaker, where the seconds are not what differs
    curve_s: tuple[float, ...] = (10.0, 30.0, 90.0, 270.0)  # of the speaker, in the learning curve
    test_clips: int = 12  # held-out videos that each result is measured on
    seeds: tuple[int, ...] = (1, 2)
    traps: bool = True  # for the first seed
    judge: str | None = None  # weights of the judge; None: the embedded one

    def __post_init__(self):
        check_fields(self, speaker_s=2, test_clips=1)
        check(min(self.curve_s) >= 2 and bool(self.seeds), "curve_s must be at least 2 s, and there must be a seed")


_ARTICLE_STUDY = override(GENERATOR_ARTICLE, steps=1500, sync_weight=0.03)
_FEW = override(StudyConfig().training, steps=100)
_TWO = override(_FEW, steps=2, batch_size=2)
STUDY_SIZES = {
    "article": StudyConfig("article", _ARTICLE_STUDY, "article", 1800.0, (60.0, 300.0, 1800.0, 7200.0)),
    "full": StudyConfig(),
    "small": StudyConfig("small", _FEW, curve_s=(10.0, 90.0), test_clips=6, seeds=(1,), traps=False),
    "tiny": StudyConfig("tiny", _TWO, speaker_s=8.0, curve_s=(8.0,), test_clips=2, seeds=(1,), traps=False),
}
