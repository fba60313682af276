"""Elements: building, printing, reading."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

__all__ = ["add", "parse", "render", "text_safe"]

#: what XML 1.0 cannot carry, not even escaped
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text_safe(text: str) -> str:
    """*text* with every character that XML cannot carry replaced by U+FFFD."""
    return _FORBIDDEN.sub("\ufffd", text)


def add(parent: ET.Element, tag: str, text: str = "", **attributes: object) -> ET.Element:
    """Append a child. Attribute values are made text; every value is made safe for XML."""
    child = ET.SubElement(parent, tag, {key: text_safe(str(value)) for key, value in attributes.items()})
    if text:
        child.text = text_safe(text)
    return child


def render(root: ET.Element) -> str:
    """Indented text, as ``virsh dumpxml`` prints it."""
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def parse(text: str) -> ET.Element:
    """The root element of what libvirt itself wrote: libvirt has parsed it before and expands no entities."""
    return ET.fromstring(text)  # noqa: S314  the text is libvirt's own
