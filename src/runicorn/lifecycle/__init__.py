"""What ``init()`` does."""
