"""What other trackers call the parts of a run that was read back, and what we call them; asked for an error alone."""

from __future__ import annotations

GO_ON = "Write runicorn.init(run_id=...) to go on with it"
_INSTEAD = {
    "history scan_history get_history data": "Write run.to_pandas(), or run.table() for its rows without pandas",
    "id path alias run_dir exit_reason best_metric_value last_step tags notes group parent": "Write run.info.{name}",
    "name display_name": "Write run.info.alias",
    "run_id": "Write run.info.id",
    "state status": "Write run.info.status",
    "params hparams": "Write run.config",
    "logs lines": "Write run.text()",
    "files": "Write run.info.run_dir: a run is plain files",
    "log log_text log_image log_config finish update save set_labels": f"It cannot be changed. {GO_ON}",
    "delete": "Write `runicorn rm` in a terminal",
}
_INSTEAD_OF = {name: instead for names, instead in _INSTEAD.items() for name in names.split()}


def hint(name: str) -> str:
    """What to write for an attribute that a loaded run does not have, as the end of a message; empty if unknown."""
    return f". {_INSTEAD_OF[name].format(name=name)}." if name in _INSTEAD_OF else ""
