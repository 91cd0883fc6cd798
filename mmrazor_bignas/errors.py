"""Errors whose message is all a user needs: the command line tools print it without a traceback."""


class UserError(Exception):
    """Not a fault of the program."""


class InputError(UserError, ValueError):
    """A file, key, gene or option cannot be used; the message names it and says what would be accepted."""


class TrainingDiverged(UserError, RuntimeError):
    """The loss is no longer a finite number; the message names subnet, iteration and the last good checkpoint."""


class SearchFailed(UserError, RuntimeError):
    """Candidates cannot be evaluated; the message says what the last one failed with."""


class ExportFailed(UserError, RuntimeError):
    """An exported file would not do what the network does; the message says by how much, and no file is left."""


class StorageError(UserError, OSError):
    """A file could not be written; the message names it and says what is untouched."""
