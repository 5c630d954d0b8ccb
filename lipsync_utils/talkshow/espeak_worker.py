"""Speak lines with espeak-ng, in a process of its own: lines as JSON on stdin, sound and phonemes on stdout.

espeak-ng keeps state between lines, so that the same text twice in one process is not bit-identical, but the same lines
in the same order in a fresh process are. It is also GPL, and stays a separate program this way. This file is run by
path and imports nothing of the package.

stdin: JSON list of {"text", "name" (of the voice), "rate", "pitch", "range"}. stdout: JSON list of
[[[start_s, ipa], ...], samples], ipa empty for a pause, samples as int16 little-endian in hex.
"""

import ctypes
import json
import sys

import espeakng_loader

SYNCHRONOUS, UTF8, CHARACTERS = 2, 1, 1
PHONEME_EVENTS_IN_IPA = 0x8003  # and no exit() on an error
END_OF_LIST, PHONEME = 0, 7  # types of events
PARAMETERS = {"rate": 1, "pitch": 3, "range": 4}
NUMBERS = ("type", "uid", "text_position", "length", "audio_position", "sample")


class Event(ctypes.Structure):
    """espeak_EVENT; for a phoneme, id is its name in UTF-8."""

    _fields_ = [(name, ctypes.c_int) for name in NUMBERS] + [("user_data", ctypes.c_void_p), ("id", ctypes.c_char * 8)]


def main():
    """Read the lines, speak them, write the answer."""
    lib, spoken = ctypes.CDLL(espeakng_loader.get_library_path()), []
    data = espeakng_loader.get_data_path().encode()
    lib.espeak_Initialize(SYNCHRONOUS, 200, data, PHONEME_EVENTS_IN_IPA)

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(Event))
    def receive(samples, count, events):
        phonemes, pcm = spoken[-1]
        pcm.extend(ctypes.string_at(samples, 2 * count))
        for event in events:
            if event.type == END_OF_LIST:
                return 0
            if event.type == PHONEME:
                symbol = event.id.decode("utf-8", "ignore")
                pause = not symbol.strip() or symbol.startswith("_")
                phonemes.append((event.audio_position / 1000, "" if pause else symbol))

    lib.espeak_SetSynthCallback(receive)
    for line in json.load(sys.stdin):
        text = line["text"].encode() + b"\0"
        spoken.append(([], bytearray()))
        if lib.espeak_SetVoiceByName(line["name"].encode()):
            raise RuntimeError(f"espeak-ng has no voice {line['name']!r}")
        for name, number in PARAMETERS.items():
            lib.espeak_SetParameter(number, line[name], 0)
        if lib.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, CHARACTERS, 0, UTF8, None, None):
            raise RuntimeError(f"espeak-ng could not speak {line['text']!r}")
        lib.espeak_Synchronize()
    json.dump([(phonemes, pcm.hex()) for phonemes, pcm in spoken], sys.stdout)


if __name__ == "__main__":
    main()
