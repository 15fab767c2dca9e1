"""This host: what it is called, its locks, its memory, and which rank of a job runs on it."""
