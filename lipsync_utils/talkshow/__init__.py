"""The embedded sample: a talk show whose actors are rendered and whose speech is synthetic, with its ground truth.

render(n_videos, seconds, folder)   any number of videos of any length
render_clip(path, actors, lines)    one shot, for training networks from scratch
cast(), host(), guests()            the frozen actors;  random_actor(seed): further ones
"""

from .actor import Actor, Voice, cast, guests, host, random_actor
from .script import Line, Scene, Script, course_scripts, held_out_scripts, random_sentence, sentences
from .stage import group_picture, portrait, render_pictures
from .video import FaceTruth, Film, film, make_material, mouth_curve, render, render_clip, render_scripts, render_video
