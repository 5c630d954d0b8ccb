"""The errors of the package: each says what was wrong and what to do about it."""


class LipsyncError(Exception):
    """Base of all errors that this package raises on purpose."""


class SettingError(LipsyncError, ValueError):
    """A setting, parameter or preset is unknown or out of range; raised before any work starts."""


class ManifestError(LipsyncError):
    """A CSV or JSON record file is not what it should be; names file, row and column."""


class MediaError(LipsyncError):
    """A picture, video or sound cannot be read or written; carries ffmpeg's own words where there are any."""


class FaceError(LipsyncError):
    """No usable face, or not the face that was asked for."""


class CheckpointError(LipsyncError):
    """A weight file is missing, damaged, of another network, or not safe to load."""


class DataError(LipsyncError):
    """The data set cannot be used for what was asked, for example training; names the clips."""


class DiskFullError(LipsyncError):
    """The disk is full: a stage stops, and continues where it was when run again."""


class NotebookError(LipsyncError):
    """A notebook failed; names it, the cell and the error."""
