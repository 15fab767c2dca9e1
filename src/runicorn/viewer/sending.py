"""An answer that is sent a piece at a time: what it reads is closed when the client goes, and a file may shrink."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from starlette.concurrency import iterate_in_threadpool
from starlette.responses import StreamingResponse

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from starlette.types import Message, Receive, Scope, Send

_logger = logging.getLogger("runicorn.viewer")


class PieceAnswer(StreamingResponse):
    """Bytes out of a generator, which is closed in the end, however that comes.

    Args:
        content: the bytes.
        size: how many those are; None = that is not known. If there are fewer after all, the connection is cut, so that
            the client does not take what has come for the whole.
        media_type: of them.
        headers: of the answer.
    """

    def __init__(
        self,
        content: Generator[bytes, None, None],
        size: int | None,
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        length = {} if size is None else {"content-length": str(size)}
        super().__init__(iterate_in_threadpool(content), headers={**headers, **length}, media_type=media_type)
        self._content = content
        self._left = size or 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""

        async def send_counted(message: Message) -> None:
            self._left -= len(message.get("body", b""))
            if message["type"] == "http.response.body" and not message.get("more_body") and self._left > 0:
                _logger.error(
                    "%s: the file is damaged, or has become shorter while it was sent: the answer is cut", scope["path"]
                )
                return
            await send(message)

        try:
            await super().__call__(scope, receive, send_counted)
        finally:
            self._content.close()
