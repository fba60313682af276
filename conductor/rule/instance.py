"""What users may write on an instance."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from drover import errors

__all__ = ["check_metadata", "check_tags"]

#: Nova's defaults (quota metadata_items; tags of API 2.26)
MOST_METADATA = 128
MOST_TAGS = 50
LONGEST_TEXT = 255
LONGEST_TAG = 60
#: not in a tag: "," and "/" as in Nova, the others so that a tag is itself in JSON
_NOT_IN_TAGS = frozenset(',/"\\')


def check_metadata(metadata: Mapping[str, str]) -> None:
    """:raises errors.BadInput: too many pairs, an empty key, or a text that is too long or cannot be shown."""
    if len(metadata) > MOST_METADATA:
        raise errors.BadInput(reason=f"{len(metadata)} metadata pairs, at most {MOST_METADATA}")
    for key, value in metadata.items():
        if not key or not key.isprintable() or len(key) > LONGEST_TEXT:
            raise errors.BadInput(reason=f"metadata key {key!r}: 1 to {LONGEST_TEXT} printable characters")
        if len(value) > LONGEST_TEXT or "\0" in value:
            raise errors.BadInput(reason=f"metadata {key}: a value has at most {LONGEST_TEXT} characters, and no NUL")


def check_tags(tags: Collection[str]) -> None:
    """:raises errors.BadInput: too many, or one that is no tag."""
    if len(tags) > MOST_TAGS:
        raise errors.BadInput(reason=f"{len(tags)} tags, at most {MOST_TAGS}")
    for tag in tags:
        if not tag or len(tag) > LONGEST_TAG or not tag.isprintable() or _NOT_IN_TAGS & set(tag):
            raise errors.BadInput(
                reason=f'tag {tag!r}: 1 to {LONGEST_TAG} printable characters without comma, slash, backslash or "'
            )
