"""One small module a tracker.

``start(directory)``
    opens a run that stores into ``directory``, as the tracker's own documentation shows it, and returns ``(log,
    finish)``. ``log(data)`` takes a dict of names and floats and makes the next step of it; where the tracker's own
    method can be called so, it is that method.
``read_back(directory)``
    counts the steps of which all of the first call's values can be read back, with the tracker's own reader or format.
    It is called in another process than ``start()``.
"""
