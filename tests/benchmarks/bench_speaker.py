"""Stage 03 on 1080x1920: clips of 5 s a minute and core, and no verdict lost to the coarser looks.

The ratio is to one search of the whole picture for the smallest face, so that it can be compared between machines.
"""

import resource
import time
from pathlib import Path

import pytest
from face_data import cut

from lipsync_utils import media, speaker
from lipsync_utils.config import FacesConfig
from lipsync_utils.faces.detect import make_detector
from lipsync_utils.project import DataSet
from lipsync_utils.records import Clip, write_csv

REAL = Path(__file__).resolve().parents[3] / "shared" / "real"
CLIPS = {"man_kitchen_1080x1920_hevc": ("speaker_alone", 4), "woman_bench_1080x1920_hevc": ("someone_else", 2)}


def cpu_s() -> float:
    """CPU time of this process and of the programs that it started."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def bench_stage_03_on_tall_clips(tmp_path, record_property):
    if not REAL.is_dir():
        pytest.skip("the clips of real people are not here (../shared/real)")
    data, rows, wanted = DataSet("tall", tmp_path), [], []
    for name, (verdict, n) in CLIPS.items():
        for k in range(n):
            file = cut(REAL / f"{name}.mp4", 125 * k, 125 * k + 125, data.clips / name / f"{name}_{k}.mp4")
            span = (5.0 * k, 5.0 * k + 5) * 2
            rows.append(Clip(file.stem, name, *span, file.relative_to(tmp_path).as_posix(), 125, None, None, None))
            wanted.append(verdict)
    write_csv(data.path("clips.csv"), rows, Clip)
    frame = next(media.frames(REAL / "man_kitchen_1080x1920_hevc.mp4", start_s=2)).image_bgr
    reference = media.write_picture(tmp_path / "man.png", frame)
    speaker.encode_references([reference])  # load the models
    began = cpu_s()
    make_detector(FacesConfig()).scan(frame)
    search_s, began, clock = cpu_s() - began, cpu_s(), time.perf_counter()
    checks, _ = speaker.filter_speaker(data, [reference], scheduler="inline")
    spent_s, clock = cpu_s() - began, time.perf_counter() - clock
    record_property("clips_a_minute_and_core", round(60 * len(rows) / spent_s, 1))
    record_property("clips_a_minute_by_the_clock", round(60 * len(rows) / clock, 1))
    record_property("whole_searches_a_clip", round(spent_s / len(rows) / search_s, 2))
    assert checks.verdict.tolist() == wanted
    assert 60 * len(rows) / spent_s >= 10
