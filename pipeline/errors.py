"""What a broken promise raises; a bad sample gets a reason instead.

PipelineError
├── ConfigError            a configuration file says something it cannot mean
├── SchemaMismatchError    a table's columns are not the promised ones
├── MissingTableError      a stage's input has not been written yet
├── FormatError            a record claims a format and breaks it; becomes reason `unparsable`
├── LandingError           a path the user named cannot be landed
├── AnswersError           an answers file cannot be joined
└── EnvironmentUnavailableError   an environment to replay in cannot be started on this machine
    └── SandboxUnavailableError   the machine cannot isolate untrusted code, so none is run
"""


class PipelineError(Exception):
    """Base of every error a user can mend; its message says where, wanted, found, and the next move."""


class ConfigError(PipelineError):
    """A configuration file has an unknown key, a wrong type or a value out of range."""


class SchemaMismatchError(PipelineError):
    """A frame lacks promised columns or has them with another dtype."""


class MissingTableError(PipelineError):
    """A stage asked for a partition that no earlier stage has written."""


class FormatError(PipelineError):
    """A record was recognised but does not hold what its format needs."""


class LandingError(PipelineError):
    """A path given to `toolwise curate` does not exist, cannot be read, or lies inside the landing zone."""


class AnswersError(PipelineError):
    """An answers file has no usable key or answer column."""


class EnvironmentUnavailableError(PipelineError):
    """An environment that the configuration names cannot be started; no row is to blame."""


class SandboxUnavailableError(EnvironmentUnavailableError):
    """Isolation does not hold here: nothing is executed. The message names what is missing and how to mend it."""
