"""A setting as it is written down in TOML: its help as comment lines, its value. Pure text."""

from __future__ import annotations

import json
import textwrap
from typing import Any

WIDTH = 100


def described(text: str, advice: str = "") -> list[str]:
    """A setting's help as comment lines."""
    sentence = text[:1].upper() + text[1:] + "."
    return textwrap.wrap(f"{sentence} {advice}".rstrip(), WIDTH, initial_indent="# ", subsequent_indent="# ")


def value_text(value: Any) -> str:
    """JSON is TOML for texts, numbers, truths and lists of them."""
    return json.dumps(value, ensure_ascii=False)
