from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.rule.keypair import check_keypair
from drover import errors
from tests.needs import require

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl user@example"


def packed(*strings: bytes) -> str:
    return base64.b64encode(b"".join(len(s).to_bytes(4, "big") + s for s in strings)).decode()


def test_a_key_as_github_publishes_its_own() -> None:
    # The fingerprint is documented: docs.github.com, "GitHub's SSH key fingerprints".
    line, fingerprint = check_keypair("k", ED25519 + "\n")
    assert line == ED25519
    assert fingerprint == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"


@pytest.mark.parametrize("kind", ["ed25519", "rsa -b 2048", "ecdsa -b 256", "ecdsa -b 384", "ecdsa -b 521"])
def test_fingerprints_are_those_of_ssh_keygen(tmp_path: Path, kind: str) -> None:
    require("ssh-keygen")
    subprocess.run(["ssh-keygen", "-q", "-t", *kind.split(), "-N", "", "-C", "a b", "-f", tmp_path / "key"], check=True)
    public = (tmp_path / "key.pub").read_text()
    told = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], capture_output=True, text=True, check=True
    ).stdout
    line, fingerprint = check_keypair("k", public)
    assert line == public.strip()
    assert fingerprint == told.split()[1]


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ("", "a type"),
        ("ssh-ed25519", "a type"),
        ("ssh-dss " + packed(b"ssh-dss"), "not one of"),
        ("ssh-ed25519 not*base64", "no base64"),
        (ED25519.replace("ssh-ed25519", "ssh-rsa"), "another type"),
        (ED25519 + "\n" + ED25519, "one line"),
        (ED25519.replace("GKJl", "GK"), "no base64|cut off"),
        ("ssh-ed25519 " + packed(b"ssh-ed25519", b"x" * 31), "32 bytes"),
        ("ssh-ed25519 " + packed(b"ssh-ed25519", b"x" * 32, b"more"), "does not hold"),
        ("ssh-ed25519 " + packed(b"ssh-ed25519"), "does not hold"),
        ("ssh-rsa " + packed(b"ssh-rsa", b"\x01\x00\x01", b"\x00" + b"\xff" * 64), "512 bits"),
        ("ecdsa-sha2-nistp256 " + packed(b"ecdsa-sha2-nistp256", b"nistp384", b"\x04" * 97), "another curve"),
        ("ecdsa-sha2-nistp256 " + packed(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" * 64), "no point"),
        (ED25519 + "x" * 9000, "at most"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
    ],
)
def test_bad_keys_say_why(key: str, word: str) -> None:
    with pytest.raises(errors.InvalidKeypair, match=word):
        check_keypair("k", key)


def test_security_keys_are_taken() -> None:
    kind = "sk-ecdsa-sha2-nistp256@openssh.com"
    check_keypair("k", f"{kind} {packed(kind.encode(), b'nistp256', bytes([4]) * 65, b'ssh:')}")
    kind = "sk-ssh-ed25519@openssh.com"
    check_keypair("k", f"{kind} {packed(kind.encode(), bytes(32), b'ssh:')}")


@given(st.one_of(st.text(), st.binary().map(lambda blob: "ssh-ed25519 " + base64.b64encode(blob).decode())))
def test_nonsense_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(errors.InvalidKeypair):
        check_keypair("k", text)


def test_the_name_is_checked() -> None:
    with pytest.raises(errors.InvalidName):
        check_keypair("", ED25519)
