"""Stages 03 and 04 on one core, all included: frames per second of CPU time at 640x360."""

import resource

from face_data import cut

from lipsync_utils import media, preprocess, speaker, talkshow
from lipsync_utils.project import DataSet
from lipsync_utils.records import Clip, write_csv


def cpu_s() -> float:
    """CPU time of this process and of the programs that it started."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def bench_preprocess_at_640x360(tmp_path, record_property):
    data = DataSet("bench", tmp_path)
    (video,) = talkshow.render(1, 24.0, tmp_path / "show", size=(640, 360), workers=1)
    rows = []
    for number, first in enumerate(range(150, 550, 100)):
        file = cut(video, first, first + 100, data.clips / "show" / f"clip_{number}.mp4")
        rows.append(
            Clip(
                file.stem,
                "show",
                first / 25,
                first / 25 + 4,
                first / 25,
                first / 25 + 4,
                file.relative_to(tmp_path).as_posix(),
                100,
                None,
                None,
                None,
            )
        )
    write_csv(data.path("clips.csv"), rows, Clip)
    reference = talkshow.portrait(tmp_path / "host.png", talkshow.host(), seed=3)
    speaker.encode_references([reference])  # load the models
    assert media.probe(file).size == (640, 360)
    spent = [cpu_s()]
    speaker.filter_speaker(data, [reference], scheduler="inline")
    spent.append(cpu_s())
    done = preprocess.preprocess_clips(data, scheduler="inline")
    spent.append(cpu_s())
    n_frames = sum(row.frames for row in done if row.folder)
    record_property("frames", n_frames)
    record_property("stage_03_frames_per_s_per_core", n_frames / (spent[1] - spent[0]))
    record_property("stage_04_after_03_frames_per_s_per_core", n_frames / (spent[2] - spent[1]))
    record_property("both_frames_per_s_per_core", n_frames / (spent[2] - spent[0]))
    assert n_frames / (spent[2] - spent[0]) >= 25
