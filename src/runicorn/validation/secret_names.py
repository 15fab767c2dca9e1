"""Whether the name of a variable, an option or a field says that its value is a secret.

A name is split into words: ``dbPass``, ``db-pass`` and ``db.pass`` are all ``db`` and ``pass``. Machine learning has
many names that only look alike (``max_tokens``, ``pad_token``, ``key_dim``, ``sort_key``, ``low_pass``): they stay.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

MASK = "***"
"""What stands in the place of a secret."""

Strength = Literal["", "weak", "strong"]
"""How surely a name names a secret; under a weak one a number or a marker such as ``<pad>`` is none."""

_LONGEST = 200
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_STRONG = re.compile(
    r"secret|passw|passphrase|passcode|credential|authori[sz]ation|authentication|bearer"
    r"|(?:api|access|private|signing|encryption|account|auth|ssh|master|license|service|storage)keys?$"
)
_STRONG_WORDS = frozenset({"pw", "dbpw", "userpw", "rootpw", "adminpw", "bindpw", "psw", "cred", "creds", "jwt"})
_STRONG_LAST_WORDS = frozenset({"otp", "totp", "psk"})
_BEFORE_PIN = frozenset("user card sim security access account login token hsm piv owner admin bank phone so".split())  # noqa: SIM905
_BEFORE_CODE = frozenset("pin otp totp mfa security access auth verification login unlock recovery backup".split())  # noqa: SIM905
_BEFORE_KEY = frozenset(
    {"api", "access", "private", "signing", "encryption", "account", "auth", "ssh", "master", "license", "service"}
)
_TOLD_APART = frozenset(
    """
    file path dir directory env type method mode url uri host provider level policy length len size dim count
    enabled required rate
    """.split()  # noqa: SIM905 - as a list it would be twenty lines
)
"""Last words that say something about a secret, and do not hold it."""
_NO = frozenset({"no", "without", "skip", "enable", "disable", "has", "is", "require", "requires", "allow"})
_OTHER_KEY_WORDS = frozenset("monkey turkey donkey hockey jockey whiskey hotkey turnkey pubkey subkey".split())  # noqa: SIM905
_OTHER_PASS_WORDS = frozenset(
    "bypass lowpass highpass bandpass allpass compass overpass surpass trespass underpass multipass onepass".split()  # noqa: SIM905
)
_OTHER_KEYS = frozenset(
    """
    public num n sort sorted primary foreign dict image img label text metric monitor rng prng random query cache input
    output obs group index data dataset target feature column field json row class state param batch id join order
    partition lookup answer question audio video caption prompt loss score value kv attn attention mask seed routing
    config map timestamp time action reward by per prefix response message messages content completion chosen rejected
    """.split()  # noqa: SIM905
)
_OTHER_PASSES = frozenset("forward backward low high band all n num first second third one two single multi by".split())  # noqa: SIM905
_OTHER_TOKENS = frozenset(
    """
    max min n num new per total pad padding bos eos unk cls sep mask special stop start end begin boi eoi image img
    video audio class text prompt input output vision patch register decoder encoder additional extra first last next
    top current generated predicted target source suffix prefix middle forced word sub blank separator language lang
    task speaker sentence query seen train trained system user assistant tool of by completion context think
    """.split()  # noqa: SIM905
)
_NOTHING_SECRET = frozenset({"", "true", "false", "none", "null", "yes", "no", "on", "off", "***"})
_NUMBER = re.compile(r"[+\-]?[\d_]{1,12}(?:\.\d{0,6})?(?:e[+\-]?\d{1,3})?", re.IGNORECASE)
_MARKER = re.compile(r"<[^<>]{0,30}>|\[[^\[\]]{0,30}\]")


@lru_cache(maxsize=4096)
def strength(name: str) -> Strength:
    """How surely the value under a name is a secret; the empty string if it is none."""
    words = [word.lower() for word in _WORD.findall(name[-_LONGEST:])]
    if not words or name in {"PWD", "OLDPWD"} or words[0] in _NO or words[-1] in _TOLD_APART:
        return ""
    if any(_is_strong(words, position) for position in range(len(words))):
        return "strong"
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in {"value", "str", "string"}):
        words.pop()
    last, before = words[-1], words[-2] if len(words) > 1 else ""
    if last.endswith(("token", "tokens")):
        return "" if before in _OTHER_TOKENS or last in {"subtoken", "detoken"} else "weak"
    if "token" in words and last == "id":  # an identity, or the number of a token in a vocabulary
        at = words.index("token")
        return "" if at and words[at - 1] in _OTHER_TOKENS else "weak"
    if last.endswith("key") and last not in _OTHER_KEY_WORDS and before not in _OTHER_KEYS:
        return "weak"
    return "weak" if last in {"cookie", "cookies"} else ""


def _is_strong(words: list[str], position: int) -> bool:
    word, before = words[position], words[position - 1] if position else ""
    is_last = position == len(words) - 1
    if _STRONG.search(word) and word != "secretary":
        return True
    if word in {"key", "keys"}:
        return before in _BEFORE_KEY
    if word == "pass" or word.endswith("pass"):
        after = "" if is_last else words[position + 1]
        ends = is_last or after in {"word", "wd", "phrase", "code"} or after.isdigit()
        return ends and word not in _OTHER_PASS_WORDS and before not in _OTHER_PASSES
    if word == "auth" or word.endswith("auth"):
        return True
    if is_last and _is_code(word, before):
        return True
    return word in _STRONG_WORDS or word.endswith("pwd") or (word == "private" and is_last)


def _is_code(word: str, before: str) -> bool:
    """Whether the last word of a name, behind another one, is a number or phrase that lets somebody in."""
    if word == "pin":  # not that of a plug: gpio_pin
        return not before or before in _BEFORE_PIN
    if word == "code":
        return before in _BEFORE_CODE
    return word in _STRONG_LAST_WORDS or (word == "phrase" and before == "seed")


def is_secret(name: str, value: Any) -> bool:
    """Whether a plain value (text, bytes, number, bool or None) under this name is a secret."""
    how = strength(name)
    if not how or value is None or isinstance(value, bool):
        return False
    if isinstance(value, (int, float)):
        return how == "strong"
    if not isinstance(value, str):
        return bool(value)
    if value.strip().lower() in _NOTHING_SECRET:
        return False
    return how == "strong" or not (_NUMBER.fullmatch(value) or _MARKER.fullmatch(value))
