"""The files of a run: where they lie, how they are written, and what may be removed."""
