"""Pictures, video and sound files in and out: PyAV, Pillow and the ffmpeg program that imageio-ffmpeg brings.

probe(path)              what a media file is: size, rate, duration, streams
frames(path)             its pictures, one at a time, upright, in BGR, high dynamic range mapped to normal
read_picture(path)       a picture file, upright, in BGR
VideoWriter              h264 and AAC in mp4, constant rate, sound and picture of one length
ffmpeg(arguments)        the program itself, its words in our error
"""

from .reader import VideoReader, constant_rate, frames, is_picture, picture_end_s, probe, read_picture
from .tools import ffmpeg, ffmpeg_program
from .writer import VideoWriter, write_picture

__all__ = [
    "VideoReader",
    "VideoWriter",
    "constant_rate",
    "ffmpeg",
    "ffmpeg_program",
    "frames",
    "is_picture",
    "picture_end_s",
    "probe",
    "read_picture",
    "write_picture",
]
