"""A login that ends while the page is open, and what the page shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenPage
from tests.support.bot import Bot
from tests.support.page import row_of, select_alert, wait_until_live
from walltrack_alerts import passwords
from walltrack_alerts.ui import PasswordAccess, Role, launch_panel

pytestmark = pytest.mark.own_server

PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
NAMES = ("ada", "a.name.of.some.length")


@pytest.fixture
def users(tmp_path: Path, cheap_passwords: None) -> Path:
    file = tmp_path / "users"
    for name in NAMES:
        passwords.add_user(file, name, Role.OPERATOR, "correct horse")
    return file


@pytest.fixture
def url(database_url: str, users: Path) -> Iterator[str]:
    panel = launch_panel(database_url, port=0, block=False, access=PasswordAccess(users), refresh_seconds=600)
    yield panel.url
    panel.close()


def log_in(page: Page, name: str = "ada") -> None:
    page.get_by_label("name").fill(name)
    page.get_by_label("password").fill("correct horse")
    page.get_by_role("button", name="Log in").click()
    wait_until_live(page)


@pytest.mark.parametrize("device", [{}, PHONE], ids=["wide", "phone"])
def test_an_action_after_the_login_ended_opens_the_login_page(
    url: str, users: Path, open_page: OpenPage, bot: Bot, device: dict[str, object]
) -> None:
    order = bot.create()
    bot.exhaust(order)
    page = open_page(url, live=False, **device)
    log_in(page)
    select_alert(page, bot.alert(order).id)
    passwords.remove_user(users, "ada")
    outcome = page.locator("#alerts-panel-outcome")
    page.locator("#alerts-panel-acknowledge").click()
    expect(outcome).to_contain_text("You have been signed out. Nothing was sent.")
    page.locator("[data-live=signed-out]").wait_for()
    outcome.evaluate("node => node.replaceChildren()")
    page.locator("#alerts-panel-acknowledge").click()  # once more, now that the page knows
    expect(outcome).to_contain_text("You have been signed out. Nothing was sent.")
    assert bot.alert(order).acknowledged_at is None
    outcome.get_by_role("link", name="Sign in again").click()
    expect(page).to_have_title("Log in - Alerts")


def test_reading_after_the_login_ended_says_so(url: str, users: Path, open_page: OpenPage, bot: Bot) -> None:
    orders = [bot.create() for _ in range(2)]
    for order in orders:
        bot.exhaust(order)
    page = open_page(url, live=False)
    log_in(page)
    select_alert(page, bot.alert(orders[0]).id)
    passwords.remove_user(users, "ada")
    row_of(page, bot.alert(orders[1]).id).click()
    page.get_by_role("link", name="Sign in again").wait_for(timeout=4000)  # sooner than the next check of the WebSocket
    for view in ("charts", "targets"):
        page.locator(f"#alerts-panel-nav-{view}").click()
        expect(page.get_by_text(f"The {view} could not be read: You have been signed out")).to_be_visible()
    expect(page.locator("body")).not_to_contain_text("cannot be reached")


def test_a_phone_shows_the_user_and_the_logout(url: str, open_page: OpenPage) -> None:
    for name in NAMES:
        page = open_page(url, live=False, **PHONE)
        log_in(page, name)
        cut = "node => node.scrollWidth > node.clientWidth"
        for button, text in (("who", name), ("logout", "Log out")):
            node = page.locator(f"#alerts-panel-{button}")
            expect(node).to_have_text(text)
            assert not node.evaluate(cut), button
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_wrong_password_can_be_typed_again(url: str, open_page: OpenPage) -> None:
    page = open_page(url, live=False)
    expect(page.get_by_label("name")).to_be_focused()
    page.keyboard.type("ada")
    page.get_by_label("password").fill("guess")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("Wrong name or password.")
    expect(page.get_by_label("name")).to_have_value("ada")
    expect(page.get_by_label("password")).to_be_focused()
    page.keyboard.type("correct horse")
    page.keyboard.press("Enter")
    wait_until_live(page)
