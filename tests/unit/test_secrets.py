"""What is masked before it is stored, and what is left as it is."""

from __future__ import annotations

import pytest

from runicorn.validation.secrets import mask_arguments, mask_text, mask_url, mask_value, mask_variable

TOKENS = [
    "ghp_" + "a1B2" * 9,
    "gho_" + "a1B2" * 9,
    "github_pat_" + "a1B2_" * 9,
    "glpat-" + "a1-B2" * 4,
    "hf_" + "aBcD" * 8,
    "sk-" + "a1B2" * 6,
    "sk-proj-" + "a1_B2" * 6,
    "xoxb-1234-5678-abcdef",
    "AKIA" + "ABCD1234" * 2,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-DEF_123",
]
NO_TOKENS = [
    "skeleton", "sk-learn", "sk-learn-contrib-examples", "hf_hub_download", "task-sk-1", "AKIA", "eyJ", "xoxo-hugs",
    "0123456789abcdef0123456789abcdef01234567", "gpt-4", "ghp_short",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("https://user:tok3n@host/x.git", "https://***@host/x.git"),
        ("https://tok@host", "https://***@host"),
        ("https://:pw@host", "https://***@host"),
        ("https://user:p@ss:w@host/x", "https://***@host/x"),
        ("postgres://u:pa/ss#w?rd@db:5432/x", "postgres://***@db:5432/x"),
        ("HTTPS://U:P@H", "HTTPS://***@H"),
        ("git+https://x-token:abc@host/x@v1", "git+https://***@host/x@v1"),
        ("ssh://git:pw@host/x", "ssh://***@host/x"),
        ("a https://u:p@h/1 b http://t@i c", "a https://***@h/1 b http://***@i c"),
        ('"url": "https://u:p@h"', '"url": "https://***@h"'),
        ("https://h/x?token=abc&a=1", "https://h/x?token=***&a=1"),
        ("https://h/x?a=1&API_KEY=abc#x", "https://h/x?a=1&API_KEY=***#x"),
        ("https://h/?X-Amz-Signature=f00&X-Amz-Credential=A/b", "https://h/?X-Amz-Signature=***&X-Amz-Credential=***"),
        ("https://h/?sig=a%2Fb&se=1", "https://h/?sig=***&se=1"),
        ("https://h/#access_token=abc", "https://h/#access_token=***"),
        (
            "https://h/?key=a&secret=b&password=c&signature=d",
            "https://h/?key=***&secret=***&password=***&signature=***",
        ),
    ],
)
def test_credentials_in_an_address_are_masked(text, masked):
    """Whatever the scheme, wherever in the text; the rest of it stays."""
    assert mask_url(text) == masked
    assert mask_text(text) == masked
    assert mask_url(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "git@github.com:x/y.git", "ssh://git@host/x", "git+ssh://git@host/x", "https://host:8080/a@b", "a@b.org",
        "https://host/@scope/package", "https://host/x?monkey=1&tokens_per_s=2", "file:///home/u", "x = a @ b",
        "https://host/path", "", "no url: at all @ all", "@decorator://",
    ],
)  # fmt: skip
def test_an_address_without_credentials_stays(text):
    """So does a text that only has some of its signs."""
    assert mask_url(text) == text


@pytest.mark.parametrize("token", TOKENS)
def test_a_token_of_a_known_shape_is_masked_anywhere(token):
    """Bare, quoted, behind ``=``, within a text, and in a variable or an argument whose name says nothing."""
    for before, after in [("", ""), ('"', '"'), ("x=", ""), ("+TOKEN: ", "\n"), ("(", ")")]:
        assert mask_text(before + token + after) == f"{before}***{after}"
    assert mask_variable("NOTE", f"a {token}") == "a ***"
    assert mask_arguments([token, f"--note={token}", "--note", token]) == ["***", "--note=***", "--note", "***"]


@pytest.mark.parametrize("text", NO_TOKENS)
def test_what_only_begins_like_a_token_stays(text):
    """A commit's hash as well."""
    assert mask_text(text) == text


def test_a_private_key_is_masked():
    """Its lines, also with a diff's signs before them, and where its end was cut off."""
    key = "+-----BEGIN RSA PRIVATE KEY-----\n+MIIB\n+AAAA\n+-----END RSA PRIVATE KEY-----"

    assert mask_text(f"a\n{key}\nb") == "a\n+-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----\nb"
    assert "MIIB" not in mask_text(key[:50])


def test_a_bearer_is_masked():
    """As in a header."""
    assert mask_text("Authorization: Bearer abcdefghijklmnop") == "Authorization: Bearer ***"


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN", "SECRET", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "PASSWD", "OPENAI_API_KEY", "WANDB_APIKEY",
        "AWS_ACCESS_KEY_ID", "MY_PRIVATE", "GOOGLE_CREDENTIALS", "BASIC_AUTH", "AUTHORIZATION", "hf_token", "HFTOKEN",
        "TOKENS",
    ],
)  # fmt: skip
def test_a_variable_whose_name_says_so_is_masked_whole(name):
    """The name is compared in any case."""
    assert mask_variable(name, "hunter2") == "***"


@pytest.mark.parametrize(
    "name", ["PATH", "TOKENIZERS_PARALLELISM", "AUTHOR", "GIT_AUTHORS", "MAX_STEPS", "MONKEY", "PWD"]
)
def test_another_variable_stays(name):
    """Names that only look alike."""
    assert mask_variable(name, "value") == "value"


def test_a_count_of_tokens_stays():
    """A number under a name with TOKEN is how many; under PASSWORD it is one."""
    assert mask_variable("MAX_TOKENS", "128") == "128"
    assert mask_variable("MAX_TOKENS", "1e9") == "1e9"
    assert mask_variable("DB_PASSWORD", "1234") == "***"
    assert mask_variable("HF_TOKEN", "") == ""


@pytest.mark.parametrize(
    ("argv", "masked"),
    [
        (["train.py", "--api-key", "x", "--lr", "0.1"], ["train.py", "--api-key", "***", "--lr", "0.1"]),
        (["--token=x"], ["--token=***"]),
        (["--api_key=x=y"], ["--api_key=***"]),
        (["-api-key", "x"], ["-api-key", "***"]),
        (["+logger.api_key=x", "logger.api_key=x"], ["+logger.api_key=***", "logger.api_key=***"]),
        (["API_KEY=x", "python"], ["API_KEY=***", "python"]),
        (["--password", "--lr", "1"], ["--password", "--lr", "1"]),
        (["--password"], ["--password"]),
        (["--max-tokens", "128", "--tokenizer", "gpt2"], ["--max-tokens", "128", "--tokenizer", "gpt2"]),
        (["--author", "me", "-p", "80"], ["--author", "me", "-p", "80"]),
        (["--url", "https://u:p@h", "--url=https://u:p@h"], ["--url", "https://***@h", "--url=https://***@h"]),
        (["-H", "Authorization: Bearer abcdefghijklmnop"], ["-H", "Authorization: Bearer ***"]),
        (["password", "x"], ["password", "x"]),
        (["-c", "x = 1\nkey=2"], ["-c", "x = 1\nkey=2"]),
        ([], []),
    ],
)
def test_secrets_of_a_command_line_are_masked(argv, masked):
    """The value of an option whose name says so, in both ways to write it; nothing else."""
    assert mask_arguments(argv) == masked


@pytest.mark.parametrize(
    "text",
    ["a" * 300_000, "a:" * 100_000, "https://" * 40_000, "://" * 100_000, "https://a:" * 30_000, "?a_" * 100_000,
     "eyJ" * 100_000, "sk-" * 100_000, "-----BEGIN PRIVATE KEY-----" * 10_000, "bearer " * 40_000, "a.b-" * 80_000,
     "https://" + "a" * 300_000, "xoxb-" + "-" * 300_000, "eyJ" + "a" * 300_000 + "."],
)  # fmt: skip
def test_masking_takes_time_in_proportion_to_the_text(text):
    """A diff is anybody's text: what takes time by the square of its size does not end within the limit."""
    assert mask_text(text)


@pytest.mark.parametrize(
    ("line", "masked"),
    [
        ('+API_KEY = "hunter2"', "+API_KEY = ***"),
        ("+aws_secret_access_key = abc123DEF456", "+aws_secret_access_key = ***"),
        ("-  password: hunter22", "-  password: ***"),
        (" export HF_TOKEN=abc12345", " export HF_TOKEN=***"),
        ("+    token = tokenizer(text)", "+    token = tokenizer(text)"),
        ("+max_tokens = 4096000", "+max_tokens = 4096000"),
        ("+for token in tokens:", "+for token in tokens:"),
    ],
)
def test_a_line_whose_name_says_what_it_holds(line, masked):
    """The value of a password, token or key in a line of code or configuration is masked; code about tokens is not."""
    assert mask_text(f"before\n{line}\nafter") == f"before\n{masked}\nafter"


SECRET_NAMES = [
    "db_pass", "db-pass", "dbPass", "DBPASS", "pw", "user_pw", "mysql_pwd", "passwd", "pass_word",
    "password2", "sshpass", "secret", "client_secret_value", "token", "hf_token", "accessToken", "key",
    "openai_key", "wandb-key", "apikey", "privatekey", "ssh_keys", "credential", "creds", "auth",
    "basic-auth", "oauth", "authorization", "passphrase", "Ddb.password", "db.conn.pass", "license_key",
    "API_KEY_1", "jwt", "use_auth_token",
]  # fmt: skip
OTHER_NAMES = [
    "keyboard", "monkey", "tokenizer", "max_tokens", "key_dim", "num_keys", "author", "authors", "passes",
    "n_pass", "pad_token_id", "eos_token", "mask_token", "n_tokens", "token_type", "special_tokens",
    "low_pass", "bypass", "compass", "forward_pass", "sort_key", "image_key", "rng_key", "keys", "keypoints",
    "keyword", "passthrough", "pass_rate", "ipw", "authority", "hotkey", "password_file", "api_key_env",
    "no-auth", "tokens_per_s", "kv_key", "public_key", "key_path",
]  # fmt: skip


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_name_with_a_word_for_a_secret_is_masked_wherever_it_stands(name):
    """As an option in both ways, as ``name=value``, in an option's value, in JSON, YAML, Python and a header."""
    texts = [
        f"--{name}=hunter2", f"{name}=hunter2", f"+x.{name}=hunter2", f"--opts={name}=hunter2,lr=1",
        f'{{"{name}": "hunter2"}}', f'{{\\"{name}\\": \\"hunter2\\"}}', f"{{'{name}': 'hunter2', 'lr': 1}}",
        f"{{{name}: hunter2, lr: 1}}", f"lr: 1\n{name}: hunter2\n", f'{{"a": [{{"{name}": "hunter2"}}]}}',
        f"{name}: hunter2", f"train --{name} hunter2 --lr 1",
    ]  # fmt: skip
    for text in texts:
        (masked,) = mask_arguments([text])
        assert "hunter2" not in masked
        assert masked.replace("***", "").strip()
    assert mask_arguments([f"--{name}", "hunter2", "--lr", "1"]) == [f"--{name}", "***", "--lr", "1"]
    assert mask_arguments(["-c", f"{name}=hunter2"]) == ["-c", f"{name}=***"]


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_name_that_only_looks_alike_is_not_masked(name):
    """Names of machine learning with the same letters."""
    for argv in (
        [f"--{name}", "gpt2"],
        [f"--{name}=gpt2"],
        [f"{name}=gpt2"],
        [f'{{"{name}": "gpt2"}}'],
        [f"{name}: gpt2"],
    ):
        assert mask_arguments(argv) == argv


@pytest.mark.parametrize(
    ("argv", "masked"),
    [
        (["--use_auth_token", "true", "--token=none"], ["--use_auth_token", "true", "--token=none"]),
        (["--key", "0"], ["--key", "0"]),
        (["--token", "<pad>", "--tokens=[PAD]"], ["--token", "<pad>", "--tokens=[PAD]"]),
        (["--api-keys", "a1", "b2", "--lr", "1"], ["--api-keys", "***", "***", "--lr", "1"]),
        (["-u", "me:hunter2", "--user=me:hunter2"], ["-u", "me:***", "--user=me:***"]),
        (["-u", "1000:1000", "--user", "me"], ["-u", "1000:1000", "--user", "me"]),
        (["-H", "X-Api-Key: hunter2"], ["-H", "X-Api-Key: ***"]),
        (["--header=Authorization: token hunter2"], ["--header=Authorization: token ***"]),
        (['{"a": {"api_keys": ["a1", "b2"]}, "lr": 1}'], ['{"a":{"api_keys":["***","***"]},"lr":1}']),
        (["Server=h;User=x;Password=hunter2;Port=1"], ["Server=h;User=x;Password=***;Port=1"]),
        (["https://hooks.slack.com/services/T0/B0/abcdefghij"], ["https://hooks.slack.com/services/***"]),
        (["-c", "sorted(x, key=len); f(token=tokenizer(x))"], ["-c", "sorted(x, key=len); f(token=tokenizer(x))"]),
    ],
)  # fmt: skip
def test_values_of_a_command_line(argv, masked):
    """What is no secret by its value stays: switches, numbers and markers of a vocabulary."""
    assert mask_arguments(argv) == masked


PASSWORDS_OF_ONE_LETTER = [
    ("train.py -p hunter2", "train.py -p ***"),
    ("train.py -p=hunter2", "train.py -p=***"),
    ("train.py -P hunter2!", "train.py -P ***"),
    ("train.py -phunter2 --lr 1", "train.py -p*** --lr 1"),
    ("train.py --pin hunter2", "train.py --pin ***"),
    ("train.py --pin=1234 --card-pin 1234", "train.py --pin=*** --card-pin ***"),
    ("train.py --otp 123456 --mfa-code 123456", "train.py --otp *** --mfa-code ***"),
    ("train.py --psk hunter22 --passwd=x", "train.py --psk *** --passwd=***"),
    ("mysql -uroot -phunter2 -P 3306 db", "mysql -uroot -p*** -P 3306 db"),
    ("mysqldump -psecret db", "mysqldump -p*** db"),
    ("sshpass -p secret ssh -p 22 host", "sshpass -p *** ssh -p 22 host"),
    ("/usr/bin/sshpass -p123456 ssh host", "/usr/bin/sshpass -p*** ssh host"),
    ("curl -u user:pass host", "curl -u user:*** host"),
    ("curl -uuser:pass host", "curl -uuser:*** host"),
    ("curl --proxy-user me:pass host", "curl --proxy-user me:*** host"),
    ("smbclient -U me%pass host", "smbclient -U me%*** host"),
    ("docker login -u me -p hunter2", "docker login -u me -p ***"),
    ("redis-cli -a secret -p 6379", "redis-cli -a *** -p 6379"),
    ("ldapsearch -x -w secret -D cn", "ldapsearch -x -w *** -D cn"),
    ("sqlcmd -S host -P secret", "sqlcmd -S host -P ***"),
    ("7z x -psecret a.7z", "7z x -p*** a.7z"),
    ("unzip -P secret a.zip", "unzip -P *** a.zip"),
    ("env PGPASSWORD=x psql -p 5432", "env PGPASSWORD=*** psql -p 5432"),
]
HARMLESS_OPTIONS = [
    "train.py -p 8080 --epochs 3", "docker run -p 8080:80 image", "train.py -p 0.5 -p 1e-3 -p 16gb",
    "train.py -p float32 -p bf16 -p 16-mixed -p bf16-mixed -p cuda:1", "train.py -p data/x1 -p config1.yaml -p ~/x1",
    "train.py -p $PORT1 -p host1:9092 -p 224x224", "train.py -p adam -P -p --lr 1", "train.py -patience 3 -pretrained",
    "train.py --pin-memory true --pin_memory --gpio-pin 4", "train.py --no-pin", "sudo -u bob python -u train.py",
    "docker run -u 1000:1000 image", "mysql -u root -p mydb", "train.py -w 4 -a resnet50 -k 5", "ssh -p 22 host1",
    "train.py -p 1e-05 -p 0x1F90 -p 1_000_000", "train.py --country-code 49 --postal-code 1 --error-code 3",
]  # fmt: skip


@pytest.mark.parametrize(("line", "masked"), PASSWORDS_OF_ONE_LETTER)
def test_a_password_behind_one_letter(line, masked):
    """A password behind an option of one letter, or a word for one, is masked; in arguments and in one text."""
    assert mask_arguments(line.split()) == masked.split()
    assert mask_value(f"cd x && {line}") == f"cd x && {masked}"


@pytest.mark.parametrize("line", HARMLESS_OPTIONS)
def test_no_password_behind_one_letter(line):
    """A port, a number, a precision, a path, a file or a plain word behind such an option stays."""
    assert mask_arguments(line.split()) == line.split()
    assert mask_value(f"cd x && {line}") == f"cd x && {line}"
