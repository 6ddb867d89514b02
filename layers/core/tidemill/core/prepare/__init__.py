"""Making a dataset from a file, and reading it back."""

from tidemill.core.prepare.pipeline import Prepared, dataset_id, prepare
from tidemill.core.prepare.shards import load_groups, load_split, read_schema

__all__ = ["Prepared", "dataset_id", "load_groups", "load_split", "prepare", "read_schema"]
