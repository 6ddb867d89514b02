"""Every limit on what is read, in one table: its value, its unit and its reason."""

from __future__ import annotations

from dataclasses import dataclass

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
HOUR, DAY = 3_600, 86_400


@dataclass(frozen=True)
class Limit:
    """One bound and why it stands where it stands."""

    value: int
    unit: str
    reason: str


LIMITS: dict[str, Limit] = {
    "upload": Limit(GIB, "bytes", "one presigned POST; what a function reads within its time"),
    "expansion_ratio": Limit(100, "times", "text packs 3 to 20 times; more is a bomb"),
    "expansion_floor": Limit(64 * MIB, "bytes", "below this an unpacked file harms nobody, whatever its ratio"),
    "expanded": Limit(4 * GIB, "bytes", "the disk of a function holds it twice"),
    "columns": Limit(2_000, "columns", "wider tables cost readers gigabytes for a few rows"),
    "rows": Limit(10_000_000, "rows", "8 bytes of hash a row stay in memory"),
    "line": Limit(MIB, "characters", "a longer line is a file without line breaks"),
    "field": Limit(64 * KIB, "characters", "a longer cell is a document, or a quote nobody closed"),
    "text": Limit(64 * KIB, "characters", "of a text that is learned from: about 20 pages; what follows is cut off"),
    "text_file": Limit(16 * MIB, "bytes", "of one text file in an archive; a book has one or two million"),
    "marks": Limit(64, "combining marks", "no script stacks more on one letter"),
    "column_name": Limit(256, "characters", "names become keys, labels and headings"),
    "parquet_footer": Limit(16 * MIB, "bytes", "the footer is parsed before anything else is known"),
    "parquet_group": Limit(GIB, "bytes", "a row group is the least that Parquet can read"),
    "sheet_cells": Limit(100_000_000, "cells", "of a sheet up to its last one; a stray cell far out makes billions"),
    "json_depth": Limit(32, "levels", "deeper nesting is an attack, not a record"),
    "json_document": Limit(64 * MIB, "bytes", "column-oriented JSON has to be read whole"),
    "chunk_rows": Limit(65_536, "rows", "the unit of work; bounds memory for narrow tables"),
    "chunk": Limit(8 * MIB, "bytes", "the unit of work; bounds memory for wide tables"),
    "good_rows": Limit(50, "rows", "fewer cannot be split, let alone learned from"),
    "good_texts": Limit(30, "texts", "a text says more than a row of cells; fewer leave none to test on"),
    "classes": Limit(1_000, "classes", "more are names, not classes"),
    "class_rows": Limit(2, "rows", "a class seen once cannot be both learned and tested"),
    "levels": Limit(1_000, "levels", "the most frequent values of a category that a model tells apart"),
    "distinct_levels": Limit(50_000, "values", "a text column with more values names rows"),
    "level_budget": Limit(1_000_000, "values", "counted values of all categories together, to bound memory"),
    "members": Limit(65_535, "members", "a zip of more needs its 64-bit form; their names stay in memory"),
    "archive_directory": Limit(16 * MIB, "bytes", "a zip's list of members is read whole before anything else"),
    "member_path": Limit(1_024, "characters", "no honest tool packs longer paths"),
    "member_depth": Limit(32, "folders", "deeper nesting is an attack, not a data set"),
    "labels_file": Limit(64 * MIB, "bytes", "1,000 characters for each of the most members"),
    "picture_bytes": Limit(32 * MIB, "bytes", "a phone's largest picture; it is read whole"),
    "picture_pixels": Limit(48 << 20, "pixels", "a phone's 50 megapixels; WebP takes 16 bytes a pixel while decoding"),
    "picture_aspect": Limit(100, "times", "a longer strip has nothing left when it is fitted into a square"),
    "picture_side": Limit(512, "pixels", "stored pictures are scaled to it: twice what the largest family looks at"),
    "good_pictures": Limit(20, "pictures", "fewer cannot be split, let alone learned from"),
    "request_headers": Limit(10_240, "bytes", "names and values together; API Gateway takes no more"),
    "request": Limit(5 * MIB, "bytes", "a Lambda takes 6 MB, the envelope included"),
    "request_binary": Limit(4 * MIB, "bytes", "a picture in a body is sent on as base64, a third longer"),
    "request_parts": Limit(80, "parts", "of a form: its pictures and a few fields"),
    "request_rows": Limit(10_000, "rows", "what is predicted and answered within seconds"),
    "request_rows_explained": Limit(1_000, "rows", "an explanation costs some 50 predictions and 20 times their text"),
    "request_pictures": Limit(64, "pictures", "decoding a large one and looking at it takes a third of a second"),
    "request_pictures_explained": Limit(16, "pictures", "each takes 16 passes and comes back as a picture of 100 KB"),
    "request_pixels_explained": Limit(1 << 18, "pixels", "as models see them: five pictures of 224, two seconds each"),
    "request_pixels": Limit(192 << 20, "pixels", "of all pictures of a request: five seconds of decoding"),
    "request_texts": Limit(2_000, "texts", "the slowest family reads a hundred in a second"),
    "request_texts_explained": Limit(100, "texts", "each takes 16 passes, and every word comes back with a number"),
    "feedback_labels": Limit(10_000, "labels", "as many as a request has rows"),
    "window_rows": Limit(20_000, "rows", "of a window that drift is looked for in; more tell no more and take memory"),
    "inbox": Limit(64 * MIB, "bytes", "of all files that one request names; they are held at once"),
    "score_function": Limit(128 * MIB, "bytes", "of a file to be scored by a function; a larger one goes to a job"),
    "score_rows": Limit(65_536, "rows", "of a table that are scored at once; what a scoring that was killed repeats"),
    "score_texts": Limit(1_000, "texts", "that are scored at once: ten seconds of the slowest family"),
    "score_pictures": Limit(256, "pictures", "that are scored at once: some seconds of decoding"),
    "score_picture_bytes": Limit(64 * MIB, "bytes", "of pictures that are held at once"),
    "score_carried": Limit(16, "columns", "of a file that go with their rows into the results"),
    "score_labels": Limit(20, "labels", "that each get a probability in the results; of more only the best gets one"),
    "backbone": Limit(512 * MIB, "bytes", "weights of a frozen network; each version carries them to where it answers"),
    "labelled_rows": Limit(200_000, "rows", "of requests with a label, learned from again; they are held at once"),
    "traffic_files": Limit(20_000, "files", "of the request log, searched for labelled rows within a minute or two"),
    "quarantine_text": Limit(2_000, "characters", "enough of a bad row to recognise it"),
    "retries": Limit(3, "jobs", "a run that was interrupted oftener has another fault than its machines"),
    "sweep_upload": Limit(120, "seconds", "S3 tells of an upload within seconds; after this its event counts as lost"),
    "sweep_overlap": Limit(2 * DAY, "seconds", "an upload in parts shows up with the time it began, at most this ago"),
    "sweep_job": Limit(300, "seconds", "a job that ends, or a run that is just recorded, needs a moment for it"),
    "again_received": Limit(1_000, "seconds", "reading takes a function at most 900; then its message is sent again"),
    "again_prepared": Limit(300, "seconds", "submitting takes a second; five minutes allow for a queue of them"),
    "again_submitted": Limit(120, "seconds", "then Batch is asked what became of the job"),
    "again_running": Limit(120, "seconds", "a job reports every 10; one that does not is looked after by then"),
    "again_ready": Limit(400, "seconds", "judging takes a function at most 300"),
    "again_scoring": Limit(6_000, "seconds", "a killed function's message comes back by itself after 5,400"),
    "late_received": Limit(6 * HOUR, "seconds", "21 tries to read a file that cannot be read"),
    "late_prepared": Limit(DAY, "seconds", "a day for Batch to take jobs again"),
    "late_submitted": Limit(30 * HOUR, "seconds", "Batch itself gives up a job without a machine after 24 hours"),
    "late_running": Limit(
        2 * DAY, "seconds", "four hours an attempt, two attempts a job, four jobs, and waits between"
    ),
    "late_ready": Limit(6 * HOUR, "seconds", "54 tries to judge a version that cannot be judged"),
    "reason_text": Limit(200, "characters", "enough of a bad value to recognise it"),
}


def limit(name: str) -> int:
    """The value of one limit."""
    return LIMITS[name].value
