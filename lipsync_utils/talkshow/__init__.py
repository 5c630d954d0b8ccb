"""The embedded sample: a talk show whose actors are rendered and whose speech is synthetic, with its ground truth.

render(n_videos, seconds, folder)   any number of videos of any length
render_clip(path, actors, lines)    one shot, for training networks from scratch
cast(), host(), guests()            the frozen actors;  random_actor(seed): further ones
"""

from .actor import Actor, Voice, cast, guests, host, random_actor
from .render import FaceTruth, Film, film, group_picture, mouth_curve, portrait, render_clip, render_video
from .script import Camera, Line, Scene, Script, random_sentence, sentences
from .show import course_scripts, held_out_scripts, render, render_pictures, render_sample, render_scripts

__all__ = [
    "Actor",
    "Camera",
    "FaceTruth",
    "Film",
    "Line",
    "Scene",
    "Script",
    "Voice",
    "cast",
    "course_scripts",
    "film",
    "group_picture",
    "guests",
    "held_out_scripts",
    "host",
    "mouth_curve",
    "portrait",
    "random_actor",
    "random_sentence",
    "render",
    "render_clip",
    "render_pictures",
    "render_sample",
    "render_scripts",
    "render_video",
    "sentences",
]
