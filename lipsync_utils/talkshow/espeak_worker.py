"""Speak lines with espeak-ng, in a process of its own: lines as JSON on stdin, sound and phonemes on stdout.

espeak-ng keeps state between lines, so that the same text twice in one process is not bit-identical, but the same lines
in the same order in a fresh process are. It is also GPL, and stays a separate program this way. This file is run by
path and imports nothing of the package.

stdin: JSON list of {"text", "voice", "rate", "pitch", "range"}. stdout: one line of JSON {"rate_hz", "lines":
[{"n_samples", "phonemes": [[start_s, ipa], ...]}]}, then the samples of all lines, int16 little-endian.
"""

import ctypes
import json
import sys

import espeakng_loader

SYNCHRONOUS, PHONEME_EVENTS, PHONEME_IPA, DONT_EXIT, UTF8, PHONEME = 2, 1, 2, 0x8000, 1, 7
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("uid", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The library, opened once per process."""

    def __init__(self):
        self.lib = ctypes.CDLL(espeakng_loader.get_library_path())
        self.lib.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
        data, options = espeakng_loader.get_data_path().encode(), PHONEME_EVENTS | PHONEME_IPA | DONT_EXIT
        self.rate_hz = self.lib.espeak_Initialize(SYNCHRONOUS, 200, data, options)
        if self.rate_hz <= 0:
            raise RuntimeError(f"espeak_Initialize returned {self.rate_hz}")
        self.lib.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self._callback = _Callback(self._receive)  # kept: the library holds only a pointer
        self.lib.espeak_SetSynthCallback(self._callback)
        self.pcm, self.phonemes = bytearray(), []

    def _receive(self, samples, count, events):
        if samples and count > 0:
            self.pcm += ctypes.string_at(samples, 2 * count)
        index = 0
        while events[index].type != 0:
            event = events[index]
            if event.type == PHONEME:
                self.phonemes.append((event.audio_position / 1000, event.id.string.decode("utf-8", "ignore")))
            index += 1
        return 0

    def say(self, text, voice, rate, pitch, range):
        """Return (int16 samples as bytes, [(start_s, ipa)])."""
        self.pcm, self.phonemes = bytearray(), []
        if self.lib.espeak_SetVoiceByName(voice.encode()):
            raise RuntimeError(f"espeak-ng has no voice {voice!r}")
        for parameter, value in ((RATE, rate), (PITCH, pitch), (RANGE, range)):
            self.lib.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        status = self.lib.espeak_Synth(data, len(data), 0, 1, 0, UTF8, None, None)
        if status:
            raise RuntimeError(f"espeak_Synth returned {status} for {text!r}")
        self.lib.espeak_Synchronize()
        return bytes(self.pcm), self.phonemes


def main():
    """Read the lines, speak them, write the answer."""
    espeak = Espeak()
    spoken = [espeak.say(**line) for line in json.load(sys.stdin)]
    lines = [{"n_samples": len(pcm) // 2, "phonemes": phonemes} for pcm, phonemes in spoken]
    out = sys.stdout.buffer
    out.write(json.dumps({"rate_hz": espeak.rate_hz, "lines": lines}).encode() + b"\n")
    for pcm, _ in spoken:
        out.write(pcm)


if __name__ == "__main__":
    main()
