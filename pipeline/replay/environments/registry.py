"""Environments by their configuration."""

from pipeline.replay.config import EnvironmentConfig, HttpServer, McpServer, PythonSandbox, RegisteredClass
from pipeline.replay.environment import Environment


def open_environment(name: str, config: EnvironmentConfig) -> Environment:
    """The environment configured as `name`, its version known; it serves one trajectory after the other.

    Raises EnvironmentUnavailableError if it cannot be started or reached.
    """
    # Imported when needed: each brings a library of its own.
    match config:
        case PythonSandbox():
            from pipeline.replay.sandbox.python_environment import PythonEnvironment

            return PythonEnvironment(config)
        case McpServer():
            from pipeline.replay.environments.mcp_server import McpEnvironment

            environment = McpEnvironment(name, config)
        case HttpServer():
            from pipeline.replay.environments.http_server import HttpEnvironment

            environment = HttpEnvironment(name, config)
        case RegisteredClass():
            from pipeline.replay.environments.registered import RegisteredEnvironment

            environment = RegisteredEnvironment(name, config)
    environment.start()
    return environment
