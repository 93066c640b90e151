"""The errors that this package raises on purpose. sql/README.md explains the codes."""

from __future__ import annotations

# psycopg and SQLAlchemy are imported in the function that needs them: `--help` needs neither.


class AlertsError(Exception):
    """Base class of all errors of this package; the text says what is wrong and what to do."""


class UsageError(AlertsError):
    """Invalid options or environment variables; a command ends with exit code 2."""


class AlertNotFoundError(AlertsError):
    """There is no alert with this id (WT001)."""


class AlertTransitionError(AlertsError):
    """The alert is in a status that does not allow the transition (WT002)."""


class InvalidAlertError(AlertsError):
    """A value that an alert cannot have (WT003)."""


class UnwatchableTableError(AlertsError):
    """The table lacks a column that every orders table needs (WT004)."""


class AdoptionError(AlertsError):
    """The older alerts table is incompatible; nothing was changed (WT005)."""


class AppendOnlyError(AlertsError):
    """Events and order actions are append only (WT006)."""


class AlertNotWrittenError(AlertsError):
    """A trigger or rule on the alerts table suppresses the row (WT008)."""


class InvalidCursorError(AlertsError):
    """The text is not a cursor of the event stream (WT009)."""


class ForeignCursorError(AlertsError):
    """The cursor is of another database or cluster, e.g. from before a restore (WT010)."""


class OrderActionRefusedError(AlertsError):
    """The order cannot be retried or cancelled as it is now; the text says why, nothing was changed (WT011).

    `code` identifies the reason, e.g. 'locked'; sql/README.md lists the codes.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class LostEventsError(ForeignCursorError):
    """The cursor is ahead of the database: a failover or a crash lost the events that were read last (WT012)."""


class InvalidTargetError(AlertsError):
    """A target is invalid; nothing was changed (WT013)."""


class UnknownTargetError(AlertsError):
    """No target has this name, or no dead letter has this id (WT014)."""


class ListenError(AlertsError):
    """Notifications do not arrive on this connection: a transaction pooler is in between, or the server is a standby."""


class StandbyError(ListenError):
    """The server is a standby, where LISTEN fails until it is promoted."""


class DatabaseUnavailableError(AlertsError):
    """The database cannot be reached, or broke the connection."""


class ConnectionStringError(DatabaseUnavailableError, UsageError):
    """WALLTRACK_DATABASE_URL or WALLTRACK_LISTEN_URL is not a PostgreSQL connection string."""


class EmbeddedUnavailableError(AlertsError):
    """No database is configured, and the embedded PostgreSQL is not installed."""


class EmbeddedStartError(AlertsError):
    """The embedded PostgreSQL did not start; the text ends with the last lines of its log."""


class DatabaseBusyError(AlertsError):
    """A lock or a time limit ended the statement; nothing was changed, and a repeat may succeed."""


class NotMigratedError(AlertsError):
    """The schema is missing or older than this package."""


class NewerSchemaError(AlertsError):
    """A newer version of this package created the schema."""


class PermissionDeniedError(AlertsError):
    """The database role lacks a privilege."""


class DatabaseError(AlertsError):
    """The database refused a statement for another reason."""


_BY_SQLSTATE: dict[str, type[AlertsError]] = {
    "WT001": AlertNotFoundError,
    "WT002": AlertTransitionError,
    "WT003": InvalidAlertError,
    "WT004": UnwatchableTableError,
    "WT005": AdoptionError,
    "WT006": AppendOnlyError,
    "WT008": AlertNotWrittenError,
    "WT009": InvalidCursorError,
    "WT010": ForeignCursorError,
    "WT011": OrderActionRefusedError,
    "WT012": LostEventsError,
    "WT013": InvalidTargetError,
    "WT014": UnknownTargetError,
    "22P02": InvalidAlertError,  # invalid_text_representation, e.g. an id that is no uuid
    "22P05": InvalidAlertError,  # untranslatable_character
    "3F000": NotMigratedError,  # invalid_schema_name
    "42P01": NotMigratedError,  # undefined_table
    "42703": NotMigratedError,  # undefined_column
    "42883": NotMigratedError,  # undefined_function
    "42501": PermissionDeniedError,
    "40001": DatabaseBusyError,  # serialization_failure
    "40P01": DatabaseBusyError,  # deadlock_detected
    "55P03": DatabaseBusyError,  # lock_not_available
    "57014": DatabaseBusyError,  # query_canceled: statement_timeout, or a cancel request
}

_ADVICE: dict[type[AlertsError], str] = {
    NotMigratedError: "The owner of schema walltrack has to run `walltrack-alerts migrate`.",
    PermissionDeniedError: "The owner of schema walltrack can do this, or give the role access with walltrack.grant_access(). "
    "If the role has no access at all, `walltrack-alerts doctor` names the owner.",
    DatabaseUnavailableError: "Check WALLTRACK_DATABASE_URL (for LISTEN, WALLTRACK_LISTEN_URL) and that the server runs.",
    DatabaseBusyError: "Another session holds a lock, or a time limit is too short. Try again.",
}


def translate(error: Exception) -> AlertsError:
    """The exception of this package for an error of psycopg or SQLAlchemy; chain it with `raise ... from`."""
    if isinstance(error, AlertsError):
        return error
    import psycopg
    import sqlalchemy.exc

    cause = error.orig if isinstance(error, sqlalchemy.exc.DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return DatabaseError(str(error))
    sqlstate = cause.sqlstate or ""
    kind = _BY_SQLSTATE.get(sqlstate)
    if kind is None:
        lost = sqlstate[:2] in ("08", "57", "28", "3D", "53") or (
            not sqlstate and isinstance(cause, psycopg.OperationalError | psycopg.InterfaceError)
        )
        kind = DatabaseUnavailableError if lost else InvalidAlertError if sqlstate[:2] == "22" else DatabaseError
    if not sqlstate and isinstance(cause, psycopg.DataError):
        kind = InvalidAlertError  # psycopg refused the value itself, e.g. a text with a NUL character
    diagnostic = cause.diag
    parts = [diagnostic.message_primary or str(cause).strip() or type(cause).__name__]
    # Where an object is missing, PostgreSQL's own hint guesses that its name or its argument types are wrong.
    hint = None if kind is NotMigratedError else diagnostic.message_hint
    parts += [part for part in (diagnostic.message_detail, hint or _ADVICE.get(kind)) if part]
    text = "\n".join(parts)
    return OrderActionRefusedError(text, diagnostic.constraint_name or "") if kind is OrderActionRefusedError else kind(text)
