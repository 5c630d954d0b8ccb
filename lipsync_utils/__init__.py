"""Do the work of the lip-sync course: each module is one noun, each notebook one verb. Importing this does nothing."""

__version__ = "0.1.0"
