"""Every error the ledger can end with and the exit code of its kind. Never prints or exits by itself.

LedgerError (1)
├── BadSettings (78)          a setting, a key file or a folder that the ledger must not run with
├── Tampered (10)             bytes differ from what was signed
├── RolledBack (11)           fewer records than a signed head, or an anchor, knows
├── Gap (12)                  a part of the log, or of what happened, is missing and the log says so
├── Unreadable (13)           not a ledger, a newer version, or a file that cannot be read
├── LogBroken (1)             a write or a sync failed: the process must end, never retry
├── LogBusy (1)               another writer holds the log
├── RecordNotFound (1)              no such record
└── LedgerUnavailable (1)     no durable answer in time (what a client of the ledger process sees)
    └── LedgerRefused (1)     the ledger understood and said no; asking again will not help
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_NEVER_SERVED = 3
EXIT_USAGE = 64


class LedgerError(Exception):
    """The root of the tree; `exit_code` is what a command ends with."""

    exit_code = EXIT_FAILED


class BadSettings(LedgerError):
    exit_code = 78


class Tampered(LedgerError):
    exit_code = 10


class RolledBack(LedgerError):
    exit_code = 11


class Gap(LedgerError):
    exit_code = 12


class Unreadable(LedgerError):
    exit_code = 13


class LogBroken(LedgerError):
    pass


class LogBusy(LedgerError):
    pass


class RecordNotFound(LedgerError):
    pass


class LedgerUnavailable(LedgerError):
    pass


class LedgerRefused(LedgerUnavailable):
    pass
