"""A dump restored into another cluster: old cursors are refused, and the advised steps miss and repeat no event."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from tests.support.commands import run_process
from tests.support.folders import temporary_folder
from tests.support.streams import RAISE, ids, page_through, read
from walltrack_alerts import embedded, migrations
from walltrack_alerts.embedded.server import Cluster

pytestmark = pytest.mark.own_server


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = temporary_folder(0o777)
    yield folder
    shutil.rmtree(folder)


def test_a_restored_dump_refuses_old_cursors(folder: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        old, new = (stack.enter_context(embedded.embedded_server(folder / name)) for name in "ab")
        migrations.upgrade(old)
        db = stack.enter_context(psycopg.connect(old, autocommit=True))
        # Xids far above those of a new cluster; and a transaction that was running when the reader read.
        db.execute("do $$ begin for n in 1..3000 loop perform pg_current_xact_id(); commit; end loop; end $$")
        with psycopg.connect(old) as slow:
            slow.execute(RAISE, ("high", "slow"))
            db.execute(RAISE, ("high", "quick"))
            handled, place = page_through(db, None, 10)
            slow.commit()
        db.execute(RAISE, ("high", "last before the dump"))
        (tmp_path / "place").write_text(str(place))

        connection = ["-U", "postgres", "-p", "5432", "-d", "postgres"]
        for name, program, *arguments in (("a", "pg_dump", "-f"), ("b", "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f")):
            code, said = Cluster.at(folder / name).programs.run(
                program, "-h", str(folder / name), *connection, *arguments, str(folder / "dump.sql")
            )
            assert code == 0, said

        restored = stack.enter_context(psycopg.connect(new, autocommit=True))
        before = ids(restored)
        assert before == ids(db)
        restored.execute(RAISE, ("high", "after the restore"))
        with pytest.raises(psycopg.Error, match="another database or cluster") as refused:
            read(restored, place)
        assert f"The last event read there was {handled[-1]}" in str(refused.value.diag.message_hint)
        stderr = run_process(new, "listen", "--json", "--cursor-file", str(tmp_path / "place"), expect=1).stderr
        assert "another database or cluster" in stderr and "read from the beginning" in stderr

        # The advised steps: read from the beginning and skip the ids already handled.
        seen, place = page_through(restored, None, 2)
        assert seen == ids(restored)
        assert len(set(seen) - set(handled)) == 3
        restored.execute(RAISE, ("high", "and on"))
        assert [number for number, _ in read(restored, place)] == ids(restored)[-1:]
        start = restored.execute("select walltrack.event_cursor()").fetchone()
        assert start is not None and read(restored, start[0]) == []
