"""The verbs of a run that record files: images, data, models, outputs."""

from __future__ import annotations

import os
import re
from time import time
from typing import TYPE_CHECKING, Any

from runicorn.errors import WrongTypeError
from runicorn.queue.new_segments import ClosedError, SpoolFullError
from runicorn.refusals import explained, guarded
from runicorn.run_handle import RunHandle
from runicorn.storage.escaping import escape
from runicorn.validation.arguments import clean_step
from runicorn.validation.metrics import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from runicorn.capture.outputs import Seen
    from runicorn.queue.asset_records import Blob, Candidate, InputAsset

_STEP_OF_IMAGE = "log_image()", "The image was stored at the step of the last log()."


class AssetVerbs(RunHandle):
    """What ``Run`` has beside numbers and text: each call hands over bytes or a path, and the writer does the work."""

    @guarded
    def log_image(
        self,
        key: str,
        image: Any,
        step: int | None = None,
        caption: str | None = None,
        format: str = "png",  # noqa: A002 - the API's name
        quality: int = 90,
    ) -> str:
        """Record an image; its pixels are copied, and encoded by the writer.

        Args:
            key: what it shows; images of one key are one row of the viewer.
            image: a PIL image, which is turned upright by its EXIF orientation; an array of HxW, HxWx1, HxWx3 or HxWx4
                (uint8, bool, floats in 0..1, or in 0..255 if the largest is 2 or more, integers in 0..255); a tensor,
                also CxHxW; a matplotlib figure; or an image file, as bytes or as a path, which is stored as it is.
            step: the step that it belongs to; None = that of the last ``log()``. The counter stays what it is.
            caption: a line of text.
            format: ``"png"``, ``"jpg"``, ``"jpeg"`` or ``"webp"``.
            quality: of JPEG and WebP, 1 to 100.

        Returns:
            The path that the file will have, relative to the run directory; ``""`` if nothing was stored.
        """
        from runicorn.queue.asset_records import Image
        from runicorn.validation import image_scale, images

        now = time()
        try:
            if not isinstance(key, str):
                raise WrongTypeError(
                    f"log_image(): key={shown(key)} is of type {type(key).__name__}. Write a string. "
                    "Nothing was stored."
                )
            picture = images.picture_of(image, format)
            quality = images.clean_quality(quality)
        except (TypeError, ValueError) as error:
            self._refusals.refuse(("image", _kind_of(error)), error)
            return ""
        remark = image_scale.remark(picture.mode, picture.data)
        if remark:
            self._refusals.warn("dark image", f"log_image(): {shown(key)}: {remark}.")
        number = clean_step(step, self._refusals, _STEP_OF_IMAGE) if step is not None else None
        path = images.media_name(key, picture.extension, now)
        blob = self._put_blob(picture.data, "log_image()")
        if blob is None:
            return ""
        record = Image(
            now,
            escape(key),
            path,
            self.global_step if number is None else number,
            None if caption is None else escape(str(caption)),
            picture.extension,
            quality,
            picture.mode,
            picture.width,
            picture.height,
            blob,
        )
        if not self._session.send(record, "log_image()"):
            self._session.drop_blob(blob)
            return ""
        return path

    @explained
    def log_dataset(
        self,
        name: str,
        root_or_uri: Any,
        *,
        context: str = "train",
        save: bool = False,
        description: str | None = None,
        force_save: bool = False,
        max_archive_bytes: int = 5 * 1024**3,
        max_archive_files: int = 2_000_000,
    ) -> None:
        """Record a dataset in ``assets.json``.

        Args:
            name: what it is called.
            root_or_uri: a local file or directory, a URI (kept as it is), or a dict that describes it.
            context: what it is used for, such as ``"train"``.
            save: True = archive its files, equal contents once in a storage; False = record its size and times.
            description: a line of text.
            force_save: True = archive it whatever its size.
            max_archive_bytes: more is not archived, unless forced; 5 GiB.
            max_archive_files: the same for the number of files; 2,000,000.

        A file that is not there is refused with a warning. Files are read by the writer, after the call.

        Raises:
            TypeError, ValueError: an argument is wrong, or there is too much to archive; nothing was recorded.
        """
        from runicorn.capture import datasets

        limits = None if force_save else datasets.Limits(max_archive_bytes, max_archive_files)
        self._record(
            "log_dataset()",
            lambda: datasets.dataset(
                name, root_or_uri, context=context, save=save, description=description, limits=limits, time_s=time()
            ),
        )

    @explained
    def log_pretrained(
        self,
        name: str,
        *,
        path_or_uri: Any = None,
        save: bool = False,
        source_type: str = "unknown",
        description: str | None = None,
        force_save: bool = False,
        max_archive_bytes: int = 5 * 1024**3,
        max_archive_files: int = 2_000_000,
    ) -> None:
        """Record a model that training starts from, in ``assets.json``.

        Args:
            name: what it is called.
            path_or_uri: a local file or directory, a URI, the name of a model on a hub, or a dict.
            save: True = archive its files, equal contents once in a storage.
            source_type: where it comes from, such as ``"hf"``.
            description: a line of text.
            force_save: True = archive it whatever its size.
            max_archive_bytes: more is not archived, unless forced; 5 GiB.
            max_archive_files: the same for the number of files; 2,000,000.

        Raises:
            TypeError, ValueError: an argument is wrong, or there is too much to archive; nothing was recorded.
        """
        from runicorn.capture import datasets

        limits = None if force_save else datasets.Limits(max_archive_bytes, max_archive_files)
        self._record(
            "log_pretrained()",
            lambda: datasets.pretrained(
                name,
                path_or_uri,
                save=save,
                source_type=source_type,
                description=description,
                limits=limits,
                time_s=time(),
            ),
        )

    @explained
    def scan_outputs_once(
        self,
        *,
        output_dirs: Sequence[Any],
        patterns: Sequence[str] | None = None,
        stable_required: int = 2,
        min_age_sec: float = 1.0,
        mode: str = "rolling",
        log_snapshot_interval_sec: float = 60.0,
        state_gc_after_sec: float = 604800,
    ) -> dict[str, Any]:
        """Scan for outputs once, and hand those that are ready to the writer, which archives them.

        Args:
            output_dirs: where to search, at any depth; one that does not exist is passed over.
            patterns: patterns of file names; with a slash inside, of paths; with a slash at the end, of directories.
                None = the usual names of models, arrays, tables, logs, configurations and pictures; one warning tells
                of files that none of these matches.
            stable_required: how many scans in a row, this one included, must find a file unchanged.
            min_age_sec: how many seconds ago a file must have been changed, or longer.
            mode: ``"rolling"``: the newest of each file is kept; ``"overwrite_versions"``: every version.
            log_snapshot_interval_sec: how many seconds lie between two copies of a log that grows.
            state_gc_after_sec: after how many seconds a file that is gone is forgotten.

        Returns:
            ``run_id``; how many were ``scanned``, ``changed`` since the last scan and ``archived`` (handed over);
            and ``archived_entries``, each with ``key``, ``name``, ``kind``, ``path``, ``mode``. ``{}`` after the end.

        Raises:
            TypeError, ValueError: an argument is wrong.
        """
        from runicorn.capture import outputs
        from runicorn.queue.asset_records import Outputs
        from runicorn.queue.records import encode

        scanning = outputs.check(
            output_dirs,
            patterns,
            mode,
            self._workspace_root,
            stable_required=stable_required,
            min_age_sec=min_age_sec,
            log_snapshot_interval_sec=log_snapshot_interval_sec,
            state_gc_after_sec=state_gc_after_sec,
        )
        if self.is_finished:
            self._session.refuse_after_end("scan_outputs_once()")
            return {}
        now = time()
        seen: dict[str, Seen] = self.__dict__.setdefault("_outputs_seen", {})
        found = outputs.scan(scanning, seen, now, leave_out=self._session.address.storage)
        if remark := outputs.remark(found, scanning):
            self._refusals.warn("unmatched outputs", f"scan_outputs_once(): {remark}.")
        if found.candidates:
            blob = self._put_blob(encode(found.candidates), "scan_outputs_once()")
            if blob is None or not self._session.send(Outputs(now, mode, blob), "scan_outputs_once()"):
                self._session.drop_blob(blob)
                return {}
            for each in found.candidates:
                outputs.archived(each, seen, now)
        return {
            "run_id": self.id,
            "scanned": found.scanned,
            "archived": len(found.candidates),
            "changed": found.changed,
            "archived_entries": [_entry(each, mode) for each in found.candidates],
        }

    @explained
    def watch_outputs(
        self,
        *,
        output_dirs: Sequence[Any],
        interval_sec: float = 10.0,
        patterns: Sequence[str] | None = None,
        stable_required: int = 2,
        min_age_sec: float = 1.0,
        mode: str = "rolling",
        log_snapshot_interval_sec: float = 60.0,
        state_gc_after_sec: float = 604800,
    ) -> None:
        """Have the writer scan for outputs every ``interval_sec`` seconds, and once more when the run ends.

        The other arguments are those of ``scan_outputs_once()``. A second call replaces the first.

        Raises:
            TypeError, ValueError: an argument is wrong.
        """
        from runicorn.capture import outputs
        from runicorn.queue.asset_records import WatchOutputs

        scanning = outputs.check(
            output_dirs,
            patterns,
            mode,
            self._workspace_root,
            stable_required=stable_required,
            min_age_sec=min_age_sec,
            log_snapshot_interval_sec=log_snapshot_interval_sec,
            state_gc_after_sec=state_gc_after_sec,
            interval_sec=interval_sec,
        )
        self._session.send(WatchOutputs(time(), float(interval_sec), scanning), "watch_outputs()")

    def stop_outputs_watch(self) -> None:
        """Scan for outputs once more, and then no longer."""
        from runicorn.queue.asset_records import WatchOutputs

        self._session.send(WatchOutputs(time(), 0.0, None), "stop_outputs_watch()")

    def _record(self, call: str, make: Callable[[], InputAsset]) -> None:
        """Push what is made of a call's arguments; what it names and is not there is refused."""
        from runicorn.capture.datasets import MissingError

        try:
            record = make()
        except MissingError as error:
            self._refusals.refuse(call, error)
            return
        self._session.send(record, call)

    def _put_blob(self, data: bytes | memoryview, call: str) -> Blob | None:
        try:
            return self._session.put_blob(data)
        except ClosedError:
            self._session.refuse_after_end(call)
        except SpoolFullError as error:
            self._session.queue.dropped_records += 1
            self._session.refuse_full(error)
        return None


def _entry(candidate: Candidate, mode: str) -> dict[str, str]:
    """What ``scan_outputs_once()`` returns of one output."""
    path = os.fsdecode(candidate.path)
    kind = "dir" if candidate.is_directory else "file"
    return {"key": candidate.key, "name": os.path.basename(path), "kind": kind, "path": path, "mode": mode}


def _kind_of(error: Exception) -> str:
    """What kind of cause it is: its message without the names and numbers in it."""
    return re.sub(r"'[^']*'|\"[^\"]*\"|[\w.\-]*[/\\]\S*|[\d.,]+", "", str(error))
