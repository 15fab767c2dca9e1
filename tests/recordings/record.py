"""Record what programs write while they show their progress: ``python record.py [NAME ...]``.

Run it in an environment with tqdm, rich, keras (with torch), lightning and pip. Each program runs once in a terminal,
and once with a pipe. What it wrote becomes ``NAME.bin``; ``index.json`` has the version of the program and, except for
pip, each ``write()``: its stream, its thread and its length in characters.
"""

from __future__ import annotations

import functools
import http.server
import importlib.metadata
import itertools
import json
import os
import pathlib
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
import zipfile
from fcntl import ioctl

HERE = pathlib.Path(__file__).parent
INDEX = HERE / "index.json"
ROWS, COLUMNS = 24, 72

TQDM = """
import sys, time
from tqdm import tqdm, trange
"""
RICH = """
import time
from rich.console import Console
console = Console()
"""
LIGHTNING = """
import logging, warnings
warnings.simplefilter("ignore")
import lightning, torch
notes = logging.getLogger("lightning.pytorch.utilities.rank_zero")
notes.addFilter(lambda record: "Tip" not in record.getMessage())  # advertisement
from lightning.pytorch import callbacks
class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
    def training_step(self, batch, _):
        loss = self.layer(batch).mean()
        self.log("loss", loss, prog_bar=True)
        return loss
    def validation_step(self, batch, _):
        return self.layer(batch).mean()
    def on_train_epoch_end(self):
        self.print("epoch", self.current_epoch, "is over")
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.0)
data = torch.utils.data.DataLoader(torch.ones(4, 1))
trainer = lightning.Trainer(max_epochs=2, logger=False, enable_checkpointing=False, enable_model_summary=False,
                            accelerator="cpu", callbacks=[BAR])
trainer.fit(Model(), data, data)
print("done")
"""

PROGRAMS = {
    "tqdm": (
        "tqdm",
        TQDM
        + """
for _ in trange(4, desc="one"):
    time.sleep(0.11)
for _ in trange(3, desc="two", leave=False):
    time.sleep(0.11)
print("done")
for _ in trange(3, desc="three"):
    time.sleep(0.11)
for _ in trange(3, desc="four"):
    time.sleep(0.11)
""",
    ),
    "tqdm_nested": (
        "tqdm",
        TQDM
        + """
for epoch in trange(2, desc="epoch"):
    for _ in trange(3, desc="batch", leave=False):
        time.sleep(0.11)
print("now kept")
for epoch in trange(2, desc="epoch"):
    for _ in trange(3, desc="batch"):
        time.sleep(0.11)
print("done")
""",
    ),
    "tqdm_write": (
        "tqdm",
        TQDM
        + """
for epoch in trange(2, desc="epoch"):
    for step in trange(3, desc="batch", leave=False):
        time.sleep(0.11)
        tqdm.write(f"message {step} of {epoch}")
        tqdm.write(f"error {step} of {epoch}", file=sys.stderr)
print("done")
""",
    ),
    "tqdm_threads": (
        "tqdm",
        TQDM
        + """
import threading
def work(n):
    for step in trange(4, desc=f"bar {n}", position=n):
        time.sleep(0.11)
        tqdm.write(f"message {step} of {n}")
threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
[each.start() for each in threads]
[each.join() for each in threads]
print("done")
""",
    ),
    "rich_progress": (
        "rich",
        RICH
        + """
from rich.progress import Progress
for epoch in range(2):
    with Progress(console=console, transient=epoch == 0) as progress:
        bars = [progress.add_task(name, total=4) for name in ("one", "two")]
        for step in range(4):
            time.sleep(0.15)
            for bar in bars:
                progress.advance(bar)
            console.print(f"[red]message {step}[/red] of {epoch}")
            print("printed", step, "of", epoch)
    print("epoch", epoch, "is over")
""",
    ),
    "rich_live": (
        "rich",
        RICH
        + """
from rich.live import Live
from rich.table import Table
def table(step):
    found = Table("name", "value")
    for n in range(step + 1):
        found.add_row(f"row {n}", str(step))
    return found
with Live(table(0), console=console, refresh_per_second=20) as live:
    for step in range(1, 4):
        time.sleep(0.12)
        live.update(table(step))
        print("message", step)
    live.update(table(1))
    time.sleep(0.12)
print("done")
""",
    ),
    "rich_status": (
        "rich",
        RICH
        + """
with console.status("working") as status:
    for step in range(3):
        time.sleep(0.2)
        console.print("message", step)
        print("printed", step)
        status.update(f"working at {step}")
print("done")
""",
    ),
    "keras": (
        "keras",
        """
import os
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy
model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1)])
model.compile(loss="mse")
ones = numpy.ones((5, 1))
model.fit(ones, ones, batch_size=1, epochs=2, validation_data=(ones, ones))
print("done")
""",
    ),
    "lightning_tqdm": ("lightning", LIGHTNING.replace("BAR", "callbacks.TQDMProgressBar()")),
    "lightning_rich": ("lightning", LIGHTNING.replace("BAR", "callbacks.RichProgressBar()")),
}

WRAPPED = """
import sys, threading
def wrap(stream, number):
    write = stream.write
    def record(text):
        with lock:
            threads.setdefault(threading.get_ident(), len(threads))
            writes.append((number, threads[threading.get_ident()], len(text)))
            count = write(text)
            stream.flush()
        return count
    stream.write = record
lock, threads, writes = threading.Lock(), {}, []
wrap(sys.stdout, 1)
wrap(sys.stderr, 2)
script, report = sys.argv[1:3]
exec(compile(script, "train.py", "exec"), {"__name__": "__main__"})
sys.stdout.flush()
import json
with open(report, "w") as file:
    json.dump([each for each in writes if each[2]], file)
"""


def main() -> None:
    """Record the programs that are named, or all."""
    index = json.loads(INDEX.read_text()) if INDEX.exists() else {}
    for name in sys.argv[1:] or [*PROGRAMS, "pip"]:
        for suffix in ("terminal", "pipe"):
            with tempfile.TemporaryDirectory() as folder:
                record = record_pip if name == "pip" else functools.partial(record_python, name)
                version, shown, writes = record(pathlib.Path(folder), is_terminal=suffix == "terminal")
            key = f"{name}_{suffix}"
            (HERE / f"{key}.bin").write_bytes(shown)
            index[key] = {"version": version, "writes": writes}
            print(key, version, len(shown), "bytes", len(writes), "writes")
    lines = (f"{json.dumps(key)}: {json.dumps(index[key], separators=(',', ':'))}" for key in sorted(index))
    INDEX.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def record_python(name: str, folder: pathlib.Path, *, is_terminal: bool) -> tuple[str, bytes, list[list[int]]]:
    """Run a script; its streams note who writes what."""
    package, script = PROGRAMS[name]
    report = folder / "writes.json"
    shown = run([sys.executable, "-c", WRAPPED, script, str(report)], folder, is_terminal=is_terminal)
    writes = json.loads(report.read_text())
    count = sum(size for _, _, size in writes)
    if len(shown.decode()) != count:
        raise ValueError(f"{name}: of {count} characters {len(shown.decode())} arrived")
    return f"{package} {importlib.metadata.version(package)}", shown, writes


def record_pip(folder: pathlib.Path, *, is_terminal: bool) -> tuple[str, bytes, list[list[int]]]:
    """Let pip download a wheel from this host, and build a source folder."""
    make_packages(folder)
    handler = functools.partial(Slow, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wheel = f"http://127.0.0.1:{server.server_port}/heavy-1.0-py3-none-any.whl"
        options = ["--no-deps", "--no-build-isolation", "--no-index", "--no-cache-dir"]
        command = [sys.executable, "-m", "pip", "install", *options, "-t", "there", wheel, "./source"]
        shown = run(command, folder, is_terminal=is_terminal)
        server.shutdown()
    shown = shown.replace(str(folder).encode(), b"/home/user").replace(str(server.server_port).encode(), b"8000")
    return f"pip {importlib.metadata.version('pip')}", shown, []


class Slow(http.server.SimpleHTTPRequestHandler):
    """Files in pieces, so that a bar has several states."""

    def copyfile(self, source: object, outputfile: object) -> None:
        """Send a piece, and wait."""
        for piece in iter(lambda: source.read(500_000), b""):
            outputfile.write(piece)
            time.sleep(0.15)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def make_packages(folder: pathlib.Path) -> None:
    """Write a wheel of 2 MB, and the source of a package."""
    with zipfile.ZipFile(folder / "heavy-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("heavy.py", os.urandom(1_000_000).hex())
        wheel.writestr("heavy-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: heavy\nVersion: 1.0\n")
        wheel.writestr("heavy-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("heavy-1.0.dist-info/RECORD", "")
    source = folder / "source"
    source.mkdir()
    (source / "pyproject.toml").write_text('[build-system]\nrequires = []\nbuild-backend = "setuptools.build_meta"\n')
    (source / "setup.py").write_text("import setuptools, time\ntime.sleep(0.5)\nsetuptools.setup(name='light')\n")


def run(command: list[str], folder: pathlib.Path, *, is_terminal: bool) -> bytes:
    """What a command writes to both streams."""
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    if is_terminal:
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        settings = termios.tcgetattr(theirs)
        settings[1] &= ~termios.OPOST  # what the program writes, not what the line discipline makes of it
        termios.tcsetattr(theirs, termios.TCSANOW, settings)
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "NO_COLOR")}
    environment |= {"TERM": "xterm-256color", "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore", "LC_ALL": "C.UTF-8"}
    environment |= {"HOME": str(folder), "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CONFIG_FILE": os.devnull}
    environment |= {"PIP_ROOT_USER_ACTION": "ignore", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment)
    os.close(theirs)
    shown = b"".join(itertools.takewhile(bool, map(read, itertools.repeat(ours))))
    os.close(ours)
    if process.wait():
        raise SystemExit(f"{command[:5]} has failed: {shown.decode()}")
    return shown


def read(fd: int) -> bytes:
    """What there is; nothing at the end."""
    try:
        return os.read(fd, 65536)
    except OSError:  # so a terminal tells that nobody writes any more
        return b""


if __name__ == "__main__":
    main()
