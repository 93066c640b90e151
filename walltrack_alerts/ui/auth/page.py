"""The login page: one HTML file without a script."""

from __future__ import annotations

import html
from string import Template

from starlette.responses import HTMLResponse, Response

PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
)


def login_page(problem: str = "", name: str = "", status: int = 200, wait: int = 0) -> Response:
    """The form, with the error of the last attempt. `wait`: seconds until the next attempt."""
    page = _PAGE.substitute(
        problem=f'<p role="alert">{html.escape(problem)}</p>' if problem else "",
        name=html.escape(name),
        name_focus="" if name else " autofocus",
        password_focus=" autofocus" if name else "",
    )
    headers = {"cache-control": "no-store", "content-security-policy": PAGE_POLICY}
    return HTMLResponse(page, status_code=status, headers=headers | ({"retry-after": str(wait)} if wait else {}))


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Log in - Alerts</title>
<link rel="icon" href="data:,">
<style>
:root { --ground: #f5f6f8; --card: #fff; --text: #1e293b; --quiet: #475569; --line: #64748b; --act: #1d4ed8; --bad: #b91c1c }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0b1120; --card: #1e293b; --text: #f1f5f9; --quiet: #cbd5e1; --line: #94a3b8; --act: #2563eb; --bad: #fca5a5 }
}
* { box-sizing: border-box }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; padding: 16px; background: var(--ground);
  color: var(--text); font: 16px/1.5 ui-sans-serif, system-ui, sans-serif }
main { width: 100%; max-width: 380px; padding: 32px; border-radius: 12px; background: var(--card);
  box-shadow: 0 1px 2px rgb(0 0 0 / .1), 0 8px 24px rgb(0 0 0 / .08) }
h1 { margin: 0; font-size: 22px }
.lead { margin: 4px 0 24px; color: var(--quiet) }
label { display: block; margin: 0 0 16px; font-weight: 600; font-size: 14px }
input { display: block; width: 100%; height: 44px; margin-top: 4px; padding: 0 12px; border: 1px solid var(--line);
  border-radius: 8px; background: transparent; color: inherit; font: inherit }
button { width: 100%; height: 44px; margin-top: 8px; border: 0; border-radius: 8px; background: var(--act); color: #fff;
  font: inherit; font-weight: 600; cursor: pointer }
button:hover { filter: brightness(1.1) }
input:focus-visible, button:focus-visible { outline: 3px solid #60a5fa; outline-offset: 1px }
[role=alert] { margin: 0 0 16px; color: var(--bad); font-weight: 600 }
</style>
</head>
<body>
<main>
<h1>Alerts</h1>
<p class="lead">Log in to see alerts and to act on them.</p>
$problem
<form method="post">
<label>Name
<input name="username" value="$name" autocomplete="username" autocapitalize="none" maxlength="100" required$name_focus></label>
<label>Password
<input name="password" type="password" autocomplete="current-password" maxlength="1000" required$password_focus></label>
<button type="submit">Log in</button>
</form>
</main>
</body>
</html>
""")
