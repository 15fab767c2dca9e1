"""A process's connection to a run, and the writer that it starts."""
