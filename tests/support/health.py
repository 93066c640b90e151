"""What health() reports, and following its advice."""

from __future__ import annotations

from psycopg.rows import class_row

from tests.support.bot import Bot
from walltrack_alerts import Check


def health(bot: Bot) -> dict[str, Check]:
    with bot.connection.cursor(row_factory=class_row(Check)) as cursor:
        checks = cursor.execute("select * from walltrack.health()").fetchall()
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


def failed_checks(bot: Bot) -> list[Check]:
    return [check for check in health(bot).values() if check.ok is False]


def follow_advice(bot: Bot, advice: str) -> None:
    """Run the SQL of the advice."""
    for statement in advice.split("`")[1::2]:
        assert statement
        if not statement.startswith("walltrack-alerts"):
            bot.execute(statement)
