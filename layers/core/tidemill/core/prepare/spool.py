"""Chunks of columns on disk between the passes, so that memory does not grow with the table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

ROW = "__row"


class Spool:
    """A folder of Arrow files, one a chunk; a chunk may lack columns that later ones have."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._count = 0

    def append(self, columns: dict[str, Any]) -> None:
        """Write one chunk."""
        batch = pa.RecordBatch.from_pydict(columns)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with (
            pa.OSFile(str(self._path(self._count)), "wb") as sink,
            pa.ipc.new_file(sink, batch.schema, options=options) as writer,
        ):
            writer.write_batch(batch)
        self._count += 1

    def chunks(self, names: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """Every chunk in order, with all columns or those named that it has."""
        for index in range(self._count):
            with pa.OSFile(str(self._path(index)), "rb") as source:
                reader = pa.ipc.open_file(source)
                if names is not None:
                    fields = [place for place, name in enumerate(reader.schema.names) if name in names]
                    reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(included_fields=fields))
                batch = reader.get_batch(0)
                yield dict(zip(batch.schema.names, batch.columns, strict=True))

    def clear(self) -> None:
        """Remove the files."""
        for index in range(self._count):
            self._path(index).unlink(missing_ok=True)
        self._count = 0

    def _path(self, index: int) -> Path:
        return self._folder / f"chunk-{index:05d}.arrow"
