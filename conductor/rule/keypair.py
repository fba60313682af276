"""SSH public keys (RFC 4253, section 6.6; RFC 5656; RFC 8709; PROTOCOL.u2f of OpenSSH)."""

from __future__ import annotations

import base64
import binascii
import hashlib

from drover import errors
from drover.objects.name import check_name

__all__ = ["check_keypair"]

#: longest line taken, in characters: an RSA key of 16384 bits has 2,800
LONGEST = 8192
#: OpenSSH refuses smaller RSA keys
LEAST_RSA_BITS = 1024

#: type -> what its blob holds after the type
_FIELDS = {
    "ssh-ed25519": ("key",),
    "ssh-rsa": ("exponent", "modulus"),
    "ecdsa-sha2-nistp256": ("curve", "point"),
    "ecdsa-sha2-nistp384": ("curve", "point"),
    "ecdsa-sha2-nistp521": ("curve", "point"),
    "sk-ssh-ed25519@openssh.com": ("key", "application"),
    "sk-ecdsa-sha2-nistp256@openssh.com": ("curve", "point", "application"),
}
#: bytes of a point: 04 and both coordinates
_POINT_BYTES = {b"nistp256": 65, b"nistp384": 97, b"nistp521": 133}
_ED25519_BYTES = 32


def check_keypair(name: str, public_key: str) -> tuple[str, str]:
    """The key as one trimmed line, and its fingerprint as ``ssh-keygen -l`` prints it (``SHA256:…``).

    :raises errors.InvalidName: *name*.
    :raises errors.InvalidKeypair: *public_key* is no key that OpenSSH takes; the reason says why.
    """
    check_name(name, "keypair")
    line = public_key.strip()
    try:
        blob = _blob(line)
    except ValueError as exc:
        raise errors.InvalidKeypair(name=name, reason=str(exc)) from None
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return line, f"SHA256:{digest}"


def _blob(line: str) -> bytes:
    if "PRIVATE KEY" in line:
        raise ValueError("this is a private key; give the public one (the file that ends in .pub)")
    if len(line) > LONGEST:
        raise ValueError(f"{len(line)} characters, at most {LONGEST} are a key")
    if not line.isprintable():
        raise ValueError("a key is one line of printable text")
    words = line.split(None, 2)
    if len(words) < 2:
        raise ValueError("a key is a type, its base64, and perhaps a comment")
    kind, text = words[0], words[1]
    if kind not in _FIELDS:
        raise ValueError(f"key type {kind!r} is not one of {', '.join(_FIELDS)}")
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the key is no base64") from None
    _check_fields(kind, _strings(blob))
    return blob


def _strings(blob: bytes) -> list[bytes]:
    """The length-prefixed strings (RFC 4251, section 5) that *blob* is made of."""
    found = []
    while blob:
        size = int.from_bytes(blob[:4], "big")
        if len(blob) < 4 + size:
            raise ValueError("the key is cut off")
        found.append(blob[4 : 4 + size])
        blob = blob[4 + size :]
    return found


def _check_fields(kind: str, strings: list[bytes]) -> None:
    if not strings or strings[0] != kind.encode():
        raise ValueError(f"the key says {kind} but its base64 holds another type")
    if len(strings) != 1 + len(_FIELDS[kind]):
        raise ValueError(f"the base64 does not hold what a key of type {kind} has")
    fields = dict(zip(_FIELDS[kind], strings[1:], strict=True))
    if "key" in fields and len(fields["key"]) != _ED25519_BYTES:
        raise ValueError(f"an Ed25519 key has {_ED25519_BYTES} bytes, this one {len(fields['key'])}")
    if "point" in fields:
        _check_point(kind, fields["curve"], fields["point"])
    if "modulus" in fields:
        bits = int.from_bytes(fields["modulus"], "big").bit_length()
        if bits < LEAST_RSA_BITS:
            raise ValueError(f"RSA key of {bits} bits, at least {LEAST_RSA_BITS} are needed")


def _check_point(kind: str, curve: bytes, point: bytes) -> None:
    if not kind.removesuffix("@openssh.com").encode().endswith(b"-" + curve) or curve not in _POINT_BYTES:
        raise ValueError(f"the key says {kind} but its base64 holds another curve")
    if len(point) != _POINT_BYTES[curve] or point[0] != 4:
        raise ValueError("the base64 holds no point of its curve")
