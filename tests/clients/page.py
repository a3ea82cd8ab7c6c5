"""What can be run of docs/apps.md."""

from __future__ import annotations

import re

from tools.vendors import NODE, REQUIREMENTS, ROOT

PAGE = (ROOT / "docs" / "apps.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (\S+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"^```(python|js|sh)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks() -> list[tuple[str, str, str]]:
    """Give each block that runs without an application: its family, its heading and language, and itself."""
    known = {path.stem for path in REQUIREMENTS.glob("*.txt")}
    return [
        (NODE if language == "js" else heading, f"{heading}-{language}", text)
        for heading, section in SECTION.findall(PAGE)
        for language, text in BLOCK.findall(section)
        if heading in known
    ]
