"""The demo names the fonts without which names of tokens are boxes."""

from __future__ import annotations

from pathlib import Path

import pytest

from walltrack_alerts.demo import missing_fonts

pytestmark = pytest.mark.own_server

EMOJI, CJK = "fonts-noto-color-emoji", "fonts-noto-cjk"


@pytest.mark.parametrize(
    ("knows", "missing"),
    [("", f"{EMOJI} and {CJK}"), (":lang=ja", EMOJI), (":charset=1f680", CJK), (":lang=ja :charset=1f680", ""), (None, "")],
)
def test_missing_fonts_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows: str | None, missing: str) -> None:
    if knows is not None:
        program = tmp_path / "fc-list"
        program.write_text(f"#!/bin/sh\ncase '{knows}' in *$1*) echo a font;; esac\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing_fonts() == missing
