"""The panel in an app that several processes serve."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from websockets.sync.client import connect

from tests.support.deadline import Deadline
from tests.support.panel_servers import PATIENCE, free_port, unmeasured, wait_for_answer
from walltrack_alerts import passwords
from walltrack_alerts.ui import Role

pytestmark = pytest.mark.own_server

APP = """
import os, sys
from fastapi import FastAPI
from walltrack_alerts.ui import PasswordAccess, mount
app = FastAPI()
app.add_api_route("/process", os.getpid)
mount(app, "/alerts", {url!r}, access=PasswordAccess({users!r}))
"""


def test_a_process_accepts_the_ticket_of_another(database_url: str, tmp_path: Path) -> None:
    users, port = tmp_path / "users", free_port()
    passwords.add_user(users, "ada", Role.OPERATOR, "correct horse")
    (tmp_path / "served.py").write_text(APP.format(url=database_url, users=str(users)))
    command = [sys.executable, "-m", "uvicorn", "served:app", "--workers", "2", "--port", str(port), "--log-level", "warning"]
    with subprocess.Popen(command, cwd=tmp_path, env=unmeasured()) as server, ExitStack() as stack:
        url = f"http://127.0.0.1:{port}"
        try:
            wait_for_answer(server, url)  # type: ignore[arg-type]
            clients: dict[int, httpx.Client] = {}
            deadline = Deadline()
            while len(clients) < 2 and deadline.is_ahead():  # each connection stays with one process
                one = stack.enter_context(httpx.Client(base_url=url, timeout=PATIENCE))
                if clients.setdefault(one.get("/process").json(), one) is not one:
                    one.close()
            first, *_ = clients.values()
            assert first.post("/alerts/login", data={"username": "ada", "password": "correct horse"}).status_code == 303
            cookie = "; ".join(f"{name}={value}" for name, value in first.cookies.items())

            def ticket(one: httpx.Client) -> dict[str, str]:
                one.cookies = httpx.Cookies(first.cookies)
                call = {"fn_index": 0, "session_hash": "x", "event_data": {"nonce": "1"}}
                given: dict[str, str] = json.loads(one.post("/alerts/gradio_api/run/predict", json=call).json()["data"][0])
                return given

            given = ticket(first)  # the other process has not served a page yet
            for _ in range(8):  # whichever process takes it
                address = f"ws://127.0.0.1:{port}/alerts{given['live_path']}?ticket={given['ticket']}"
                with connect(address, origin=url, additional_headers={"Cookie": cookie}) as page:  # type: ignore[arg-type]
                    assert json.loads(page.recv())["changed"] == []
            assert {ticket(one)["live_path"] for one in clients.values()} == {given["live_path"]}
        finally:
            server.terminate()
            server.wait(PATIENCE)
