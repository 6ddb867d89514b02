"""A file to be scored, block by block: its rows as a model reads them, and its results as files."""
