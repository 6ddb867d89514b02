"""The release. It is part of every fingerprint: new code makes new versions from old data."""

VERSION = "0.2.0"
