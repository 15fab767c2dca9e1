"""Secrets: which files are ones, and what is masked in addresses, variables, command lines and diffs.

Masking is a net and no proof: it knows names that say what they hold, addresses with credentials, and the shapes of
common tokens. A password in a place that does not say so passes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "***"

FILES = (
    ".env",
    ".env.*",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa",
    "id_dsa",
    "id_ecdsa",
    "id_ed25519",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".git-credentials",
    ".htpasswd",
    "credentials.json",
    "kaggle.json",
    "secrets.toml",
    ".npmrc",
    ".boto",
    "*.tfvars",
)
"""Names of files that hold secrets: whole, or with one ``*`` at an end."""

DIRECTORIES = (".aws", ".ssh", ".gnupg")
"""Names of directories that hold nothing else."""

_TEMPLATES = frozenset({".env.example", ".env.sample", ".env.template"})
_NAMES = frozenset(name for name in FILES if "*" not in name)
_STARTS = tuple(name[:-1] for name in FILES if name.endswith("*"))
_ENDS = tuple(name[1:] for name in FILES if name.startswith("*"))

# Every repetition has a bound where text before it could be long: a diff may be one line of 256 KiB.
_CREDENTIALS = re.compile(
    r"\b([a-z][a-z0-9+.\-]{1,30})://"
    r"(?:([^\s/?#\"'`<>]{1,1000})@|([^\s/?#\"'`<>:@]{0,200}:(?!\d+/)[^\s\"'`<>@]{1,1000})@)",
    re.IGNORECASE,
)
_PARAMETER = re.compile(
    r"([?&#;](?:[\w.\-]{0,40}[_.\-])?"
    r"(?:token|key|apikey|accesskey|secret|password|passwd|pwd|sig|signature|credential|credentials|auth)=)"
    r"[^&\s\"'`<>#;]+",
    re.IGNORECASE,
)
_SHELLS = ("ssh", "git+ssh", "ssh+git", "sftp", "rsync")

_TOKEN = re.compile(
    r"(?<![A-Za-z0-9_])(?:"
    r"gh[pousr]_[A-Za-z0-9]{16,255}"
    r"|github_pat_\w{16,255}"
    r"|glpat-[\w\-]{16,255}"
    r"|hf_[A-Za-z0-9]{20,255}"
    r"|sk-(?=[\w\-]{0,200}\d)[\w\-]{16,255}"
    r"|xox[a-z]-[\w\-]{10,255}"
    r"|npm_[A-Za-z0-9]{30,255}"
    r"|pypi-[\w\-]{40,1000}"
    r"|AIza[\w\-]{35}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])"
    r"|eyJ[\w\-]{8,4000}\.[\w\-]{8,8000}(?:\.[\w\-]{0,4000})?"
    r")"
)
_BEARER = re.compile(r"\b(bearer|basic)( {1,4})[\w.~+/\-]{12,4000}={0,2}", re.IGNORECASE)
# A line of a configuration, or of code: a name that says what it holds, and a text; a bare word only with a digit,
# and no number.
_ASSIGNMENT = re.compile(
    r"^([+\- ]?[ \t]{0,200}(?:export )?[\"']?[\w.\-]{0,80}"
    r"(?:password|passwd|passphrase|secret|token|api_?key|access_?key|private_?key)"
    r"[\w\-]{0,40}[\"']?[ \t]{0,8}[:=][ \t]{0,8})"
    r"(?:[\"'][^\"'\n]{4,1000}[\"']|(?![\d_.]{1,40}[ \t]{0,8}$)(?=[^\s]{0,200}\d)[^\s\"'()\[\]{},]{6,1000}[ \t]{0,8}$)",
    re.IGNORECASE | re.MULTILINE,
)
_PRIVATE_KEY = re.compile(
    r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)

_SECRET_NAME = re.compile(
    r"SECRET|PASSWORD|PASSWD|PASSPHRASE|APIKEY|CREDENTIAL|PRIVATE|AUTH(?!ORS?(?:_|$))"
    r"|(?:API|ACCESS|SIGNING|ENCRYPTION|ACCOUNT)_?KEY"
)
_TOKEN_NAME = re.compile(r"TOKEN(?!I[SZ])")
_NUMBER = re.compile(r"[\d_]{1,12}(?:\.\d{0,6})?(?:e[+\-]?\d{1,3})?", re.IGNORECASE)
_OPTION = re.compile(r"-{0,2}[A-Za-z_+~][\w.\-/]{0,200}")


def is_secret_file(parent: str, name: str) -> bool:
    """Whether a file's name says that it holds secrets; ``parent`` is the name of its directory."""
    lowered = name.lower()
    if lowered in _TEMPLATES:
        return False
    if lowered in _NAMES or lowered.startswith(_STARTS) or lowered.endswith(_ENDS):
        return True
    return lowered == "config" and parent.lower() == ".kube"


def mask_url(text: str) -> str:
    """The text with the credentials masked in each address that it holds.

    ``https://user:password@host`` and ``https://token@host`` become ``https://***@host``; the user of an address of
    ssh stays, as does ``git@host:path``. Parameters such as ``?token=`` keep their names and lose their values.
    """
    return _PARAMETER.sub(rf"\g<1>{MASK}", _CREDENTIALS.sub(_without_credentials, text))


def _without_credentials(match: re.Match[str]) -> str:
    scheme, credentials = match[1], match[2] or match[3]
    if scheme.lower() in _SHELLS and ":" not in credentials:
        return match[0]
    return f"{scheme}://{MASK}@"


def mask_text(text: str) -> str:
    """The text with credentials in addresses, tokens of a known shape and private keys masked."""
    masked = _PRIVATE_KEY.sub(rf"\g<1>{MASK}\g<2>", mask_url(text))
    masked = _ASSIGNMENT.sub(rf"\g<1>{MASK}", masked)
    return _BEARER.sub(rf"\g<1>\g<2>{MASK}", _TOKEN.sub(MASK, masked))


def mask_variable(name: str, value: str) -> str:
    """The value of an environment variable as it may be stored: masked whole where its name says so."""
    return MASK if _is_secret(name, value) else mask_text(value)


def mask_arguments(argv: Iterable[str]) -> list[str]:
    """A command line as it may be stored, argument by argument.

    Masked are the value of an option whose name says so (``--api-key x``, ``--token=x``, ``logger.api_key=x``), and
    everywhere what ``mask_text`` masks.
    """
    masked: list[str] = []
    expected = ""
    for argument in argv:
        if expected and not argument.startswith("--") and _is_secret(expected, argument):
            masked.append(MASK)
            expected = ""
            continue
        name, equals, value = argument.partition("=")
        expected = ""
        if not _OPTION.fullmatch(name):
            masked.append(mask_text(argument))
        elif equals:
            masked.append(f"{name}={mask_variable(name, value)}")
        else:
            expected = name if name.startswith("-") else ""
            masked.append(mask_text(argument))
    return masked


def _is_secret(name: str, value: str) -> bool:
    plain = name.lstrip("-").upper().replace("-", "_")
    if _SECRET_NAME.search(plain):
        return bool(value)
    # A language model has a --max-tokens, which is no secret.
    return bool(value and _TOKEN_NAME.search(plain) and not _NUMBER.fullmatch(value))
