"""config: presets and settings."""

import dataclasses

import pytest

from lipsync_utils import config
from lipsync_utils.errors import SettingError


def test_the_defaults_are_the_articles_numbers():
    split = config.preset("article").split
    assert (split.silence_dbfs, split.min_silence_ms) == (-40, 400)
    assert (split.max_part_s, split.piece_s, split.min_clip_s) == (10, 5, 1)


def test_unknown_names_and_impossible_values_are_named():
    with pytest.raises(SettingError, match="'sample' or 'article'"):
        config.preset("sampel")
    with pytest.raises(SettingError, match="silence_db"):
        config.override(config.SplitConfig(), silence_db=-30)
    with pytest.raises(SettingError, match="min_clip_s"):
        config.override(config.SplitConfig(), min_clip_s=20.0)


def test_none_keeps_the_presets_value():
    split = config.override(config.SplitConfig(), silence_dbfs=None, min_clip_s=0.5)
    assert split == dataclasses.replace(config.SplitConfig(), min_clip_s=0.5)


def test_equal_settings_have_equal_hashes():
    assert config.settings_hash(config.SplitConfig(), 1) == config.settings_hash(config.SplitConfig(), 1)
    assert config.settings_hash(config.SplitConfig(), 1) != config.settings_hash(config.SplitConfig(crf=20), 1)
