"""Options of one letter that hold a password: ``-p x``, ``-px``, and what certain programs call it otherwise.

``-p`` may as well be a port, a path or a precision. Behind a program that is known to take a password there, every
value is one; elsewhere a value that mixes letters with digits or signs, as a password does and a plain word does not.
"""

from __future__ import annotations

import re

from runicorn.validation.secret_names import MASK

_USUAL = "pP"

_WITH_PASSWORD = {
    **dict.fromkeys("sshpass cqlsh mongo mongosh mongodump mongorestore mongoexport mongoimport rdesktop".split(), "p"),  # noqa: SIM905
    **dict.fromkeys("mysql mysqldump mysqladmin mysqlimport mysqlcheck mariadb mariadb-dump".split(), "p"),  # noqa: SIM905
    **dict.fromkeys("7z 7za 7zr 7zz rar unrar".split(), "p"),  # noqa: SIM905
    **dict.fromkeys("zip unzip sqlcmd bcp isql ipmitool mosquitto_pub mosquitto_sub".split(), "P"),  # noqa: SIM905
    **dict.fromkeys("ldapsearch ldapadd ldapmodify ldapdelete ldapwhoami ldappasswd".split(), "w"),  # noqa: SIM905
    "redis-cli": "a",
    "openssl": "k",
}
"""Programs, and the letter behind which each takes a password and nothing else."""

_ATTACHED = frozenset(
    "mysql mysqldump mysqladmin mysqlimport mysqlcheck mariadb mariadb-dump 7z 7za 7zr 7zz rar unrar".split()  # noqa: SIM905
)
"""Those that take it attached alone: ``-p name`` asks for a password, and names a database."""

_WITH_PORT = frozenset("ssh scp sftp rsync psql pg_dump nc nmap".split())  # noqa: SIM905
"""Programs whose ``-p`` is none, also if ``sshpass`` has started them."""

_LIKELY = re.compile(
    r"(?!-)(?=[^\s]{0,200}[A-Za-z])(?=[^\s]{0,200}[\d!@#$%^&*?+~])[^\s/\\=\[\]{}()<>,]{5,200}", re.ASCII
)
_OTHER = re.compile(
    r"(?:bf|fp|tf|float|bfloat|int|uint|u?i|f|nf|complex|cuda:?|gpu|cpu)\d{1,3}(?:[_\-].{0,20})?"  # precision, device
    r"|\d[\d.:x\-]*(?:[a-z%]{1,3}|-(?:mixed|true|bit))?"  # a number with a unit, a size, a port
    r"|[+\-]?\d[\d_.]{0,20}e[+\-]?\d{1,3}|0x[\da-f]{1,16}"  # a number of another form
    r"|[\w.\-]{1,200}:\d{1,5}"  # a host and a port
    r"|[\w.\-@+]{1,200}\.(?:[a-z]{1,5}\d?|[A-Z]{1,5})"  # a file
    r"|[$%]\{?\w+[}%]?",  # a variable of a shell
    re.IGNORECASE,
)
_SHORT = re.compile(r"-([A-Za-z])(=?)(.{0,1000})", re.DOTALL)
_WORDS = re.compile(r"(\s+)")
_MAY_HOLD = re.compile(rf"(?:^|\s)-(?:[{_USUAL}]|[akw]\s)")


def mask_words(words: list[str]) -> list[str]:
    """A command line without the passwords behind options of one letter.

    Args:
        words: the program and its arguments; or a command before them, such as ``env``.
    """
    masked: list[str] = []
    program, option = "", ""
    for word in words:
        name = word.rpartition("/")[2]
        if option and not word.startswith("-"):
            masked.append(_mask(word, program, option, attached=False))
            option = ""
            continue
        option = ""
        if name in _WITH_PASSWORD or name in _WITH_PORT:
            program = name
        short = _SHORT.fullmatch(word)
        if short and short[1] in f"{_USUAL}{_WITH_PASSWORD.get(program, '')}":
            option = "" if short[3] else short[1]
            word = f"-{short[1]}{short[2]}{_mask(short[3], program, short[1], attached=not short[2])}"  # noqa: PLW2901
        masked.append(word)
    return masked


def mask_command(text: str) -> str:
    """The same of a command line in one text."""
    if not _MAY_HOLD.search(text):
        return text
    pieces = _WORDS.split(text)
    pieces[::2] = mask_words(pieces[::2])
    return "".join(pieces)


def _mask(value: str, program: str, option: str, *, attached: bool) -> str:
    quote = value[0] if value[:1] in {'"', "'"} and value[-1:] == value[0] and len(value) > 2 else ""
    inner = value[1:-1] if quote else value
    return f"{quote}{MASK}{quote}" if inner and _is_password(inner, program, option, attached=attached) else value


def _is_password(value: str, program: str, option: str, *, attached: bool) -> bool:
    if program in _WITH_PORT:
        return False
    if option == _WITH_PASSWORD.get(program) and (attached or program not in _ATTACHED):
        return True
    return bool(_LIKELY.fullmatch(value)) and not _OTHER.fullmatch(value)
