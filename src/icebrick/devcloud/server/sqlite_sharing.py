"""Lets many threads of one service write to one SQLite database without "database is locked".

oslo.db begins every transaction with a deferred BEGIN. A transaction that reads and then writes while another
has written in between fails at once, whatever the busy timeout; Cinder then loses, for example, a quota commit.
Writers that BEGIN IMMEDIATE queue up instead, and with a write-ahead log readers never wait for them.

Nor does oslo.db keep connections to SQLite: it opens the file and reads its schema for every transaction, and when the
last is closed, SQLite folds the log back. That was a quarter of what Cinder computes.
"""

from __future__ import annotations

import sqlite3

import sqlalchemy
from oslo_db.sqlalchemy import enginefacade, engines


def use_write_ahead_log(path: str) -> None:
    """Make (if missing) the database file and set its journal mode, which the file itself remembers."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


def share_database() -> None:
    """Patch oslo.db; call before the first session is opened."""
    _begin_writers_immediately()
    engines._init_connection_args.dispatch_for("sqlite")(_keep_connections)


def _keep_connections(url, engine_args, kw):
    """In the place of what makes oslo.db's engines without a pool."""
    engine_args["poolclass"] = sqlalchemy.QueuePool


def _begin_writers_immediately() -> None:
    factory = enginefacade._TransactionFactory
    plain_create_session = factory._create_session

    def create_session(self, mode, bind=None):
        if mode is enginefacade._WRITER and bind is None:
            if not self._started:
                self._start()
            bind = self._writer_engine.execution_options(writer=True)
        return plain_create_session(self, mode, bind)

    factory._create_session = create_session
    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", _rewrite_begin, retval=True)


def _rewrite_begin(connection, cursor, statement, parameters, context, executemany):
    if statement == "BEGIN" and connection.get_execution_options().get("writer"):
        statement = "BEGIN IMMEDIATE"
    return statement, parameters
