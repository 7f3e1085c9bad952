"""The exceptions of the package.

The tree::

    MulticopyError
    |-- InputError               a file or an option is at fault (command line: exit status 2)
    |   |-- ModelFileError       a coordinate file
    |   |-- ReflectionFileError  a reflection file
    |   |-- RestraintFileError   a restraint dictionary, or a folder of them
    |   |-- OutputError          a place to write to
    |   `-- RuleError            (OccupancyError) a rule for occupancy groups that cannot be
    |-- OccupancyError           (ValueError) values, masks, groups or sets that cannot be
    |   `-- ConformationError    (AssertionError) a conformation whose atoms are in several groups
    |-- UnknownNameError         (KeyError) a group, state or ligand that a solution does not have
    |-- StaleBasisError          a basis used with a model that has changed since it was made
    `-- GradientError            (RuntimeError) derivatives that a calculation does not have

Not converging is a status of a solution, not an exception.
"""


class MulticopyError(Exception):
    """Root of the package's exceptions."""


#: A word of a file that is longer than this is not shown whole in a message.
_LONGEST_WORD = 400


class InputError(MulticopyError):
    """A file or an option that the user gave is at fault; long words in the message are cut."""

    def __init__(self, message: str = "") -> None:
        super().__init__(
            " ".join(
                word if len(word) <= _LONGEST_WORD else f"{word[:40]}... ({len(word)} characters)"
                for word in message.split(" ")
            )
        )


class ModelFileError(InputError):
    """A coordinate file cannot be used."""


class ReflectionFileError(InputError):
    """A reflection file cannot be used."""


class RestraintFileError(InputError):
    """A restraint dictionary, or a folder of them, cannot be used."""


class OutputError(InputError):
    """The place to write to cannot be used."""


class OccupancyError(MulticopyError, ValueError):
    """Occupancies, masks, groups or sets that break a rule; the message names index and value."""


class RuleError(InputError, OccupancyError):
    """A rule for occupancy groups that selects nothing, contradicts another, or cannot be."""


class ConformationError(OccupancyError, AssertionError):
    """A conformation whose atoms do not share one collapsed index."""


class UnknownNameError(MulticopyError, KeyError):
    """A name of a group, state or ligand that a solution does not have."""

    def __str__(self) -> str:  # a KeyError would show the message in quotes
        return str(self.args[0])


class StaleBasisError(MulticopyError):
    """Group structure factors used with a model that is no longer the one they were made from."""


class GradientError(MulticopyError, RuntimeError):
    """A derivative was asked for that a calculation does not have."""
