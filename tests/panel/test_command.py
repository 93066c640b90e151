"""The commands `panel` and `demo` serve whatever proxy the environment names."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request

import pytest

from tests.support.commands import COMMAND
from tests.support.folders import remove, temporary_folder
from walltrack_alerts import ui

pytestmark = pytest.mark.own_server

NAMES = ("ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy")


def is_served(arguments: list[str], environment: dict[str, str]) -> None:
    """Start it, load its page, stop it with Ctrl-C."""
    with subprocess.Popen(
        [*COMMAND, *arguments, "--port", "0", "--no-browser"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            output = ""
            while not (found := re.search(r"Panel .*?(http://[0-9.:]+)", output)):
                line = process.stdout.readline()
                assert line, output
                output += line
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            assert b"gradio" in direct.open(found[1], timeout=60).read().lower()
            process.send_signal(signal.SIGINT)
            rest = process.stdout.read()
            assert process.wait(60) in (0, 130) and "Traceback" not in output + rest, output + rest
        finally:
            process.kill()


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "http://127.0.0.1:9"])
def test_the_panel_serves_whatever_proxy_is_set(database_url: str, proxy: str) -> None:
    is_served(["panel"], {"WALLTRACK_DATABASE_URL": database_url, **dict.fromkeys(NAMES, proxy)})


def test_the_demo_serves_whatever_proxy_is_set() -> None:
    folder = temporary_folder()
    try:
        is_served(["demo"], {"WALLTRACK_DATA_DIR": str(folder / "data"), **dict.fromkeys(NAMES, "socks5://127.0.0.1:9")})
    finally:
        remove(folder)


@pytest.mark.parametrize(
    ("proxy", "no_proxy"),
    [("socks5://h:9", "*"), ("socks4://h:9", "*"), ("nonsense", "example.org"), ("http://h:9", "example.org")],
)
def test_only_an_unusable_proxy_is_put_aside(monkeypatch: pytest.MonkeyPatch, proxy: str, no_proxy: str) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, proxy)
    monkeypatch.setenv("NO_PROXY", "example.org")
    with ui._usable_proxies():
        assert os.environ["NO_PROXY"] == no_proxy
    assert os.environ["NO_PROXY"] == "example.org"


@pytest.mark.parametrize(("proxy", "kept"), [("socks5://127.0.0.1:9", None), ("http://127.0.0.1:9", "example.org")])
def test_the_environment_stays_unchanged(proxy: str, kept: str | None) -> None:
    """Even where the import of Gradio fails, which here saves its two seconds."""
    script = """
import os, sys
sys.modules["gradio"] = None
try:
    import walltrack_alerts.ui
except Exception as error:
    assert "needs Gradio" in str(error), error
    print(os.environ.get("ALL_PROXY"), os.environ.get("NO_PROXY"))
"""
    environment = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    environment |= {"ALL_PROXY": proxy} | ({"NO_PROXY": kept} if kept else {})
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.stdout.split() == [proxy, str(kept)]
