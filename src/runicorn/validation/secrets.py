"""Secrets: which files are ones, and what is masked in addresses, variables, command lines and diffs.

Masking is a net and no proof: it knows names that say what they hold, addresses with credentials, and the shapes of
common tokens. A password in a place that does not say so passes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from runicorn.validation.password_options import mask_command, mask_words
from runicorn.validation.secret_names import MASK, is_secret, strength

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    r"|(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,255}"
    r"|(?:xapp|nvapi|xai)-[\w\-]{16,255}"
    r"|(?:gsk|r8|dop_v1)_[A-Za-z0-9]{20,255}"
    r"|SG\.[\w\-]{16,64}\.[\w\-]{16,64}"
    r"|ya29\.[\w\-]{20,1000}"
    r"|\d{8,10}:AA[\w\-]{33}(?![\w\-])"
    r"|eyJ[\w\-]{8,4000}\.[\w\-]{8,8000}(?:\.[\w\-]{0,4000})?"
    r")"
    r"|(?<=hooks\.slack\.com/services/)[\w/\-]{10,200}"
    r"|(?<=/api/webhooks/)[\w/\-]{20,300}"
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

_QUOTED_PAIR = re.compile(
    r"(?P<head>(?P<quote>\\{0,7}[\"'])(?P<name>[\w.\-]{1,80})(?P=quote)\s{0,8}:\s{0,8})"
    r"(?:(?P<open>\\{0,7}[\"'])(?P<text>(?:(?!(?P=open))(?:\\.|[^\\\n])){1,4000})(?P<close>(?P=open)|\Z)"
    r"|(?P<bare>[^\s,;{}\[\]\"'\\]{1,1000}))"
)
_BARE_PAIR = re.compile(
    r"(?P<head>(?<![\w.])(?P<name>[A-Za-z_][\w.\-]{0,80})[\"']?(?P<sign>\s{0,8}[:=]\s{0,8})"
    r"(?:(?:bearer|basic|token|digest|apikey) {1,4})?)"
    r"(?:(?P<open>[\"'])(?P<text>[^\"'\n]{1,4000})(?P<close>(?P=open))"
    r"|(?P<bare>[^\s,;&{}()\[\]\"'<>]{1,1000})(?=[\s,;&)\]}\"'<>]|\Z))",
    re.IGNORECASE,
)
_OPTION_PAIR = re.compile(
    r"(?P<head>(?<!\S)--?(?P<name>[A-Za-z][\w.\-]{1,80})\s{1,8})"
    r"(?:(?P<open>[\"'])(?P<text>[^\"'\n]{1,4000})(?P<close>(?P=open))|(?P<bare>(?!-|[\"'])\S{1,1000}))"
)
_USERS = frozenset({"-u", "-U", "--user", "--proxy-user", "--login", "--username"})
_USER = re.compile(r"([^\s:/@%\-][^\s:/@%]{0,100}[:%])(?!\d+$)[^\s/]{1,200}")
_USER_OPTION = re.compile(
    r"((?<!\S)(?:-[uU]|--(?:user|proxy-user|login|username)(?=[\s=]))(?:\s{1,8}|=|)"
    r"[\"']?[^\s:/@%\"'\-][^\s:/@%\"']{0,100}[:%])(?!\d+(?:\s|$))[^\s/\"']{1,200}"
)
_LONGEST_JSON = 100_000
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
    masked = _QUOTED_PAIR.sub(_without_value, _ASSIGNMENT.sub(rf"\g<1>{MASK}", masked))
    return _BEARER.sub(rf"\g<1>\g<2>{MASK}", _TOKEN.sub(MASK, masked))


def _without_value(match: re.Match[str]) -> str:
    given = match["text"] or match["bare"]
    if not is_secret(match["name"], given) or given.startswith(f"{MASK}"):
        return match[0]
    quote = match["open"] or ""
    return f"{match['head']}{quote}{MASK}{match['close'] or ''}"


def _without_bare_value(match: re.Match[str]) -> str:
    # Behind a weak name in the middle of a text stands as often a word: sorted(rows, key=len).
    bare = match["bare"]
    if bare and strength(match["name"]) == "weak" and not any(sign.isdigit() for sign in bare):
        return match[0]
    return _without_value(match)


def mask_value(text: str) -> str:
    """A text that is a value (of an argument, a variable, a configuration) as it may be stored.

    Masked is what ``mask_text`` masks, and values under names that say so: in JSON, in lines of YAML, behind
    ``name=``, ``name:``, ``--name`` and ``-p``.
    """
    if _is_harmless(text):
        return text
    masked = mask_command(_USER_OPTION.sub(rf"\g<1>{MASK}", mask_text(text)))
    masked = _OPTION_PAIR.sub(_without_value, _BARE_PAIR.sub(_without_bare_value, masked))
    if masked[:1] in {"{", "["} and len(masked) <= _LONGEST_JSON:
        return _mask_json(masked)
    return masked


def _is_harmless(text: str) -> bool:
    """Most values are short words or numbers: no pair, no address, and too short for a token."""
    return len(text) < 14 and "=" not in text and ":" not in text and "-" not in text


def _mask_json(text: str) -> str:
    """JSON text without what stands deeper than one pair shows, such as a list of keys."""
    import msgspec

    try:
        content = msgspec.json.decode(text)
        masked = mask_tree(content)
        return text if masked == content else msgspec.json.encode(masked).decode()
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError):
        return text


def mask_tree(value: Any, name: str = "", *, inherited: bool = False) -> Any:
    """Plain dicts and lists without the secrets in them.

    Args:
        value: what JSON can hold.
        name: the name that it stands under.
        inherited: whether a name above it says that all of it is secret.
    """
    if isinstance(value, dict):
        inside = inherited or strength(name) == "strong"
        return {key: mask_tree(each, key, inherited=inside) for key, each in value.items()}
    if isinstance(value, list):
        inside = inherited or bool(strength(name))
        return [mask_tree(each, name, inherited=inside) for each in value]
    if isinstance(value, str):
        return MASK if (inherited and value) or is_secret(name, value) else mask_value(value)
    return MASK if is_secret(name, value) else value


def mask_variable(name: str, value: str) -> str:
    """The value of an environment variable as it may be stored: masked whole where its name says so."""
    return MASK if is_secret(name, value) else mask_value(value)


def mask_arguments(argv: Iterable[str]) -> list[str]:
    """A command line as it may be stored, argument by argument.

    Masked are the value of an option whose name says so (``--api-key x``, ``--token=x``, ``logger.api_key=x``), all
    values of one in the plural (``--api-keys x y``), the password of ``--user name:password``, and everywhere what
    ``mask_value`` masks. So is what stands behind ``-p`` and looks like a password: ``mask_words``.
    """
    masked: list[str] = []
    option = ""
    for argument in mask_words(list(argv)):
        if option and not argument.startswith("--") and is_secret(option, argument):
            masked.append(MASK)
            option = option if option.endswith("s") else ""
            continue
        if option in _USERS:
            argument = _USER.sub(rf"\g<1>{MASK}", argument)  # noqa: PLW2901 - what is left of it is checked below
        name, equals, value = argument.partition("=")
        option = ""
        if not _OPTION.fullmatch(name):
            masked.append(mask_value(argument))
        elif equals:
            if name in _USERS:
                value = _USER.sub(rf"\g<1>{MASK}", value)
            masked.append(f"{name}={mask_variable(name, value)}")
        else:
            option = name if name.startswith("-") else ""
            masked.append(mask_value(argument))
    return masked
