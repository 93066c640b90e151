"""A lint of the installed catalogue: what every object of schema walltrack has to have."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import psycopg
import pytest

from walltrack_alerts import NoticeCode, migrations

FOLDER = Path(migrations.__file__).parent.parent
SQL = sorted(FOLDER.glob("sql/*.sql"))
OURS = "n.nspname = 'walltrack' and p.proname not in ('tg_orders__touch_updated_at', 'tg_orders__log_status')"
DEFINERS = {
    "acknowledge_alert", "acknowledge_alerts", "add_silence", "cancel_order", "claim_deliveries",
    "clear_faults", "cluster_id", "drop_deliveries", "end_silence", "escalate_overdue", "fan_out_events",
    "finish_deliveries", "health", "known_faults", "order_of_alert", "press_button", "purge_batch", "purge_delivery_history",
    "raise_alert", "raise_missing_alerts", "reconcile_orders", "relay_metrics", "relay_seen", "relay_stopped",
    "replay_deliveries", "resolve_alert", "resolve_alerts", "resolve_ended_alerts", "resolve_raised_alert", "retry_order",
    "snooze_alert", "snooze_alerts", "take_duty", "tg_alerts__append_delete_event", "tg_alerts__check_lifecycle",
    "tg_alerts__delete_events", "tg_ddl__follow", "tg_ddl__forget", "tg_ddl__warn", "tg_orders__guard",
    "tg_watched__truncated",
}  # fmt: skip
INHERITING = {
    "build_event_detail", "choose_error", "close_order_alert", "is_exhausted", "is_given_up", "is_guard_source",
    "limit_lock_wait", "lock_wait_totals", "notify_event", "one_line", "open_alert", "order_message", "order_outcome",
    "remaining_lock_wait", "repeat_alert",
}  # fmt: skip
"""Inlined, or on the path of each failed order, where a search_path of their own would cost 1 us: their callers have fixed it."""
QUALIFIED = {"tg_alerts__check_lifecycle", "tg_alert_events__protect_commit", "tg_orders__guard"}
"""Triggers on that path, which qualify every name instead."""
INLINED = {"is_awake", "is_duplicate", "is_open", "is_relay_running", "is_ringing", "severity_rank"}
"""Expressions that become part of the queries that call them; they qualify every name."""


def names(db: psycopg.Connection, query: str) -> set[str]:
    return {row[0] for row in db.execute(query)}  # type: ignore[arg-type]


def functions(db: psycopg.Connection, condition: str) -> set[str]:
    return names(
        db, f"select p.proname from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace where {OURS} and {condition}"
    )


def test_every_function_fixes_its_search_path(db: psycopg.Connection) -> None:
    unfixed = functions(db, "not coalesce(p.proconfig @> array['search_path=pg_catalog, pg_temp'], false)")
    assert unfixed == INHERITING | QUALIFIED | INLINED


def test_only_fixed_functions_call_those_that_inherit_a_search_path(db: psycopg.Connection) -> None:
    for name in INHERITING:
        callers = functions(db, f"p.prosrc like '%walltrack.{name}(%'")
        assert callers and not callers & QUALIFIED, name
        assert functions(db, f"p.proname = '{name}' and (p.prosecdef or p.proacl::text like '%=X/%,%')") == set()


def test_other_functions_without_a_search_path_qualify_every_name(db: psycopg.Connection) -> None:
    """Under any search_path, with operators and functions of another role in front, they resolve to PostgreSQL's own."""
    for name in QUALIFIED | INLINED:
        (source,) = db.execute("select prosrc from pg_proc where proname = %s", (name,)).fetchone() or ("",)
        code = re.sub(r"--[^\n]*|'(?:[^']|'')*'", "", source)
        code = re.sub(r"raise (warning|exception)[^;]*;", "", code)
        operators = r"(?<!operator\(pg_catalog\.)(?<![:=<>])[=<>+*/|-]+(?![=>)\w])(?! *>)"
        assert re.findall(operators, re.sub(r":=|=>", "", code)) == [], name
        calls = set(re.findall(r"(?<![.\w])([a-z_]+)\(", code))
        calls -= {"operator", "row", "coalesce", "any", "array", "in", "and", "or", "if", "when"}
        assert calls <= {"greatest", "least", "nullif"}, (name, calls)


def test_every_function_has_a_comment(db: psycopg.Connection) -> None:
    assert functions(db, "obj_description(p.oid, 'pg_proc') is null") == set()


def test_nothing_is_executable_by_public(db: psycopg.Connection) -> None:
    assert functions(db, "has_function_privilege('public', p.oid, 'execute')") == set()


def test_no_type_is_usable_by_public(db: psycopg.Connection) -> None:
    assert names(
        db,
        "select t.typname from pg_type as t join pg_class as c on c.oid = t.typrelid and c.relkind = 'c' "
        "where t.typnamespace = 'walltrack'::regnamespace and has_type_privilege('public', t.oid, 'usage')",
    ) == set()  # fmt: skip


def test_the_register_names_every_function_of_alerting(db: psycopg.Connection) -> None:
    registered = names(db, "select p.proname from walltrack.own_functions() as f join pg_proc as p on p.oid = f")
    assert registered == functions(db, "true")


def test_only_the_doors_are_security_definer(db: psycopg.Connection) -> None:
    assert functions(db, "p.prosecdef") == DEFINERS


def test_no_two_functions_share_a_name(db: psycopg.Connection) -> None:
    assert functions(db, "true group by p.proname having count(*) > 1") == set()


def test_functions_fit_on_a_screen_unless_they_say_why(db: psycopg.Connection) -> None:
    long = functions(db, "length(p.prosrc) - length(replace(p.prosrc, e'\\n', '')) > 61 and p.proname <> 'tg_orders__guard'")
    assert long == functions(db, "p.prosrc like '%Longer than a screen%'") - {"tg_orders__guard"} != set()


def test_python_functions_fit_on_a_screen() -> None:
    modules = [(path, ast.parse(path.read_text(encoding="utf-8"))) for path in FOLDER.glob("walltrack_alerts/**/*.py")]
    lengths = {
        f"{path.stem}.{node.name}": (node.end_lineno or 0) - node.body[0].lineno + 1  # without the options of a command
        for path, tree in modules
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert len(lengths) > 400 and [name for name, lines in lengths.items() if lines > 60] == []


def test_every_function_is_written_once() -> None:
    """The second of two would replace the first without a word."""
    written = [name for path in SQL for name in re.findall(r"create or replace function (\S+)\(", path.read_text())]
    assert len(written) > 80 and sorted(set(written)) == sorted(written)


def test_every_table_and_view_has_a_comment(db: psycopg.Connection) -> None:
    assert names(
        db,
        "select c.relname from pg_class as c where c.relnamespace = 'walltrack'::regnamespace and c.relkind in ('r', 'v', 'c') "
        "and c.relname <> 'alerts_version' and obj_description(c.oid, 'pg_class') is null "
        "and not exists (select from pg_type as t where t.typrelid = c.oid and obj_description(t.oid, 'pg_type') is not null)",
    ) == set()  # fmt: skip


def test_views_read_with_the_rights_of_the_reader(db: psycopg.Connection) -> None:
    assert names(
        db,
        "select relname from pg_class where relnamespace = 'walltrack'::regnamespace and relkind = 'v' "
        "and not coalesce(reloptions @> array['security_invoker=true'], false)",
    ) == set()  # fmt: skip


def test_nothing_is_readable_by_public(db: psycopg.Connection) -> None:
    assert names(
        db,
        "select relname from pg_class where relnamespace = 'walltrack'::regnamespace and relkind in ('r', 'v') "
        "and has_table_privilege('public', oid, 'select, insert, update, delete')",
    ) == set()  # fmt: skip


def test_the_index_of_open_alerts_repeats_their_order(db: psycopg.Connection) -> None:
    """What is_open() and severity_rank() say stands in the index once more: only then can a list be read along it."""
    for query in ("select * from walltrack.open_alerts", "select * from walltrack.open_alerts limit 1"):
        with db.transaction():
            db.execute("set local enable_seqscan = off; set local enable_sort = off")
            plan = "\n".join(row[0] for row in db.execute(f"explain {query}"))
            assert "Index Scan using alerts_open_in_order" in plan and "Sort" not in plan and "Filter" not in plan


def test_the_guard_and_order_outcome_agree_on_terminal_statuses(db: psycopg.Connection) -> None:
    (source,) = db.execute("select prosrc from pg_proc where proname = 'tg_orders__guard'").fetchone() or ("",)
    (terminal,) = re.findall(r"operator\(pg_catalog\.=\) any \(array\[('filled'[^]]*)\]\)", source)
    statuses = {"pending", "submitted", "confirming", "failed", *re.findall(r"'(\w+)'", terminal)}
    outcomes = {
        status: db.execute("select walltrack.order_outcome(%s, false, false)", (status,)).fetchone() for status in statuses
    }
    assert {status for status, outcome in outcomes.items() if outcome != ("open",)} == {"filled", "executed", "cancelled"}
    assert set(re.findall(r"'(\w+)'", terminal)) == {"filled", "executed", "cancelled"}


def test_every_foreign_key_has_an_index(db: psycopg.Connection) -> None:
    assert names(
        db,
        "select c.conname from pg_constraint as c where c.contype = 'f' and c.connamespace = 'walltrack'::regnamespace "
        "and not exists (select from pg_index as i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1])",
    ) == set()  # fmt: skip


REGISTER = (FOLDER / "sql" / "README.md").read_text()
SOURCES = "".join(path.read_text() for path in [*SQL, *FOLDER.glob("alembic/versions/*.py")])


def test_every_error_code_is_in_the_register() -> None:
    raised = set(re.findall(r"errcode = '(WT0\d+)'", SOURCES))
    registered = set(re.findall(r"^\| `(WT0\d+)`", REGISTER, re.MULTILINE))
    translated = set(re.findall(r'"(WT\d+)":', (FOLDER / "walltrack_alerts" / "errors.py").read_text()))
    assert raised == registered == translated


def test_every_notice_and_warning_has_a_code_in_the_register() -> None:
    statements = re.findall(r"\braise (?:notice|warning)\s(?:'(?:[^']|'')*'|[^;'])*;", SOURCES)
    codes = [re.findall(r"errcode = '(WT[12]\d+)'", statement) for statement in statements]
    assert [statement for statement, found in zip(statements, codes, strict=True) if len(found) != 1] == []
    registered = dict(re.findall(r"^\| `(WT[12]\d+)` \| (?:`(\w+)`)?", REGISTER, re.MULTILINE))
    assert {found[0] for found in codes} == registered.keys()
    assert {code: name for code, name in registered.items() if code < "WT2"} == {code.value: code.name for code in NoticeCode}


def test_every_refusal_code_is_in_the_register() -> None:
    refusals = dict(re.findall(r"\brow\(\s*'(\w+)',(.*?)\)::walltrack\.order_refusal", SOURCES, re.DOTALL))
    given = refusals.keys() | set(re.findall(r"constraint = '(\w+)'", SOURCES))
    final = {code for code, rest in refusals.items() if rest.rstrip().endswith("true")}
    rows = dict(re.findall(r"^\| `(\w+)` \| (yes|no) \|", REGISTER, re.MULTILINE))
    assert given == rows.keys() and len(given) > 15
    assert final == {code for code, is_final in rows.items() if is_final == "yes"}


def test_no_string_depends_on_standard_conforming_strings() -> None:
    """A session may have it off: there a backslash of a plain string is gone."""
    texts = [path.read_text() for path in SQL]
    for path in FOLDER.glob("alembic/versions/*.py"):
        texts += re.findall(r'^[A-Z]+ = r?"""(.*?)"""', path.read_text(), re.MULTILINE | re.DOTALL)
    assert len(texts) > 20
    for text in texts:
        strings = re.findall(r"\be'(?:[^'\\]|\\.|'')*'|'((?:[^']|'')*)'", re.sub(r"--.*", "", text))
        assert [plain for plain in strings if "\\" in plain] == []


def test_plpgsql_check_finds_nothing(db: psycopg.Connection) -> None:
    available = db.execute("select 1 from pg_available_extensions where name = 'plpgsql_check'").fetchone()
    if available is None:
        pytest.skip("this server does not have plpgsql_check; version 15 in the gate has it")
    db.execute("create schema extensions; create extension plpgsql_check schema extensions")
    found = db.execute(
        """
        select p.proname, c.level, c.lineno, c.message, c.detail
        from pg_proc as p
        join pg_language as l on l.oid = p.prolang and l.lanname = 'plpgsql'
        left join lateral (
          select t.tgrelid from pg_trigger as t
          where t.tgfoid = p.oid order by t.tgrelid limit 1
        ) as t on true
        cross join lateral extensions.plpgsql_check_function_tb(
          p.oid, coalesce(t.tgrelid, 0), all_warnings => true) as c
        where p.pronamespace = 'walltrack'::regnamespace
          -- They read and lock by dynamic SQL, which the check cannot see, lock rows within a query, or raise an error.
          and (p.proname, c.level) not in (
            ('read_values_unchecked', 'performance'), ('can_read_orders', 'performance'), ('hold_deliveries', 'performance'),
            ('hold_queues', 'performance'), ('hold_targets', 'performance'), ('refuse_target', 'performance')
          )
          -- Their queries are put together of quoted literals and names, or of words of the catalogue and of the source.
          and (p.proname, c.level) not in (
            ('list_alerts', 'security'), ('changed_alerts', 'security'), ('read_values_unchecked', 'security'),
            ('narrow_grants', 'security'), ('grant_targets', 'security')
          )
          -- They return from within their loops; alert and place, watched and stored are two columns; a transition table exists
          -- while the trigger runs.
          and (p.proname, c.message) not in (
            ('unused_xid', 'control reached end of function without RETURN'),
            ('sync_order', 'control reached end of function without RETURN'),
            ('list_alerts', 'cannot determinate a result of dynamic SQL'),
            ('list_alerts', 'composite OUT variable "alert" is not single argument'),
            ('find_stored_orders', 'composite OUT variable "watched" is not single argument'),
            ('tg_alerts__delete_events', 'relation "deleted_alerts" does not exist'),
            ('tg_alerts__append_delete_event', 'relation "deleted_alerts" does not exist')
          )
          -- On the path of each failed order, where a cast that is written out costs as much.
          and (p.proname, c.message) not in (
            ('notify_event', 'target type is different type than source type'),
            ('remaining_lock_wait', 'target type is different type than source type')
          )
          -- An assignment calls a function in a third of the time of PERFORM.
          and c.message <> 'never read variable "v_ignored"'
        """
    ).fetchall()
    assert found == []
