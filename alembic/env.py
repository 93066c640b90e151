"""Runs the revisions and then the files of sql/; walltrack_alerts.migrations defines the steps."""

from alembic import context
from walltrack_alerts import migrations

if context.is_offline_mode():
    migrations.run_offline()
else:
    migrations.run_online()
