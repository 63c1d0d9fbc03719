"""Every error a user can meet, and the exit code each one ends a command with.

    IcebrickError                         1
    ├── UsageError                        2    arguments or configuration
    ├── BackendError                      1
    │   ├── FileMissingError
    │   ├── ShortReadError                     retryable
    │   ├── AccessDeniedError
    │   ├── StorageFullError
    │   ├── BackendUnavailableError            retryable
    │   └── ConformanceError                       it does not do what a repository needs
    ├── RepositoryError                   1
    │   ├── NoRepositoryError            10
    │   ├── RepositoryLockedError        11
    │   ├── WrongPasswordError           12
    │   ├── SnapshotMissingError          1
    │   └── CorruptDataError              1
    ├── CloudError                        1
    │   ├── ResourceMissingError
    │   ├── AccessForbiddenError
    │   ├── QuotaError
    │   ├── UnexpectedStateError
    │   └── CloudUnavailableError              retryable
    ├── AttachError                       1
    │   └── NotEncryptedError                      it should be, and was never written
    ├── FileSystemError                   1
    ├── ReaderError                       1    the virtual machine that reads a file system does not run, or ended
    ├── DevcloudError                     1    the development cloud could not be started or removed
    ├── IncompleteError                   3    some volumes failed, or a verification found differences
    └── Interrupted                     130    asked to end, by SIGINT or SIGTERM

The codes of the repository errors are restic's.
Messages: lower case, no full stop, what failed and on what. Hints are sentences.
"""

from __future__ import annotations


class IcebrickError(Exception):
    """Base of all errors that a user can cause or mend; anything else that escapes is a bug."""

    exit_code = 1
    retryable = False
    hint: str | None = None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint


class UsageError(IcebrickError):
    """Arguments or configuration that cannot be meant."""

    exit_code = 2


class BackendError(IcebrickError):
    """The storage of the repository's files failed."""


class FileMissingError(BackendError):
    """The named file is not there."""


class ShortReadError(BackendError):
    """Fewer bytes came back than were asked for."""

    retryable = True


class AccessDeniedError(BackendError):
    """The storage refused; trying again will not help."""

    hint = "Check the permissions or credentials of the repository's location."


class StorageFullError(BackendError):
    """No room is left on the storage."""

    hint = "Free some space; what was stored before stays readable, and a new run continues from what is there."


class BackendUnavailableError(BackendError):
    """The storage did not answer, or answered that it cannot now.

    `retry_after` is how many seconds it asked to be left alone for, None when it did not say.
    """

    retryable = True

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class ConformanceError(BackendError):
    """The storage does something else than what a repository needs."""


class RepositoryError(IcebrickError):
    """The repository is not as it should be."""


class NoRepositoryError(RepositoryError):
    """There is no repository at the location."""

    exit_code = 10
    hint = "Create one with 'icebrick init', or check the location."


class RepositoryLockedError(RepositoryError):
    """Another process holds a lock that excludes this operation."""

    exit_code = 11
    hint = "Wait for the other process to end; 'icebrick unlock' removes locks of processes that are gone."


class WrongPasswordError(RepositoryError):
    """No key of the repository opens with this password."""

    exit_code = 12
    hint = (
        "It is taken from --password-file, RESTIC_PASSWORD_FILE, RESTIC_PASSWORD or the configuration's password-file."
    )


class SnapshotMissingError(RepositoryError):
    """No snapshot matches, or several do."""

    hint = "'icebrick snapshots' lists what is there."


class CorruptDataError(RepositoryError):
    """Stored data is damaged or was tampered with."""

    hint = "'icebrick check --read-data' finds all damage."


class CloudError(IcebrickError):
    """OpenStack refused or failed."""


class ResourceMissingError(CloudError):
    """The volume, snapshot or attachment does not exist, or is not visible to this user."""

    hint = "Check the id, and the project that the user is logged in to."


class AccessForbiddenError(CloudError):
    """This user may not do that, or could not log in."""

    hint = (
        "The user needs a role in the project that may do this; that of a member is enough for all but other projects."
    )


class QuotaError(CloudError):
    """The project's quota is used up."""


class UnexpectedStateError(CloudError):
    """A resource went to a state from which the operation cannot go on."""


class CloudUnavailableError(CloudError):
    """OpenStack did not answer."""

    retryable = True


class AttachError(IcebrickError):
    """A volume could not be made visible on this host, or is not what Cinder promised."""


class NotEncryptedError(AttachError):
    """A volume that should be encrypted has no header: nobody has written to it yet."""


class FileSystemError(IcebrickError):
    """The file system of a volume, or something in it, could not be read, written or made."""


class ReaderError(IcebrickError):
    """The virtual machine that reads a hostile file system cannot be started, broke the rules, or ended early.

    Nothing more can be read through it: no problem of one file.
    """


class DevcloudError(IcebrickError):
    """The development cloud could not be started, used or removed."""


class IncompleteError(IcebrickError):
    """The command ended, but not everything it was asked for succeeded."""

    exit_code = 3


class Interrupted(IcebrickError):
    """Asked to end, and has ended: what was not finished is undone."""

    exit_code = 130
