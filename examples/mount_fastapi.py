"""The alert panel below /alerts of a FastAPI app, with the app's own login.

uvicorn mount_fastapi:app, where WALLTRACK_DATABASE_URL names the database and DESK_TOKENS the users by token:
DESK_TOKENS='{"a long secret": ["ada", "operator"], "another one": ["bob", "reader"]}'. This login is only an example.
"""

import json
import os
import secrets

from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from walltrack_alerts.ui import Person, Role, mount

TOKENS = json.loads(os.environ["DESK_TOKENS"])


def user_of(request):
    """The user of a request, or None. The panel calls it for every request and every action, the WebSocket included."""
    given = request.cookies.get("desk", "")
    for token, (name, role) in TOKENS.items():
        if secrets.compare_digest(token.encode(), given.encode()):
            return Person(name, Role(role))
    return None


app = FastAPI()


@app.get("/")
def home():
    """Show a page of the app itself."""
    return {"alerts": "/alerts"}


@app.get("/enter/{token}")
def enter(token: str):
    """Log in with a token."""
    response = RedirectResponse("/alerts/", status_code=303)
    response.set_cookie("desk", token, httponly=True, samesite="lax")
    return response


mount(app, "/alerts", os.environ["WALLTRACK_DATABASE_URL"], access=user_of)
