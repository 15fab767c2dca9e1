"""The page on the runs of a storage, and the server behind it: ``runicorn viewer``.

It reads the plain files through ``runicorn.reading``, and ends lost runs by the code of ``runicorn recover``;
it writes nothing else, and needs no database. Its libraries come with ``runicorn[viewer]``; nothing else imports them.
"""
