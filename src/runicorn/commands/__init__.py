"""The commands of ``runicorn``, a module each.

A module has ``HELP`` (one line), ``add_arguments(parser)`` and ``run(options) -> int``, the exit status. What a command
cannot do it raises as ``LookupError``, ``ValueError`` or ``OSError`` with a text for the person who called it.
"""
