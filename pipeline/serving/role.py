"""What a model server is for, as its messages have to name it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Role:
    """Who asks the server, and where it is configured."""

    name: str
    server: str
    """The key of its ServerConfig in the configuration."""
    variables: str
    """How the environment variables begin that name an existing server."""

    @property
    def base_url(self) -> str:
        """The variable with the server's address."""
        return f"{self.variables}_BASE_URL"


JUDGE = Role("judge", "judge.server", "TOOLWISE_JUDGE")
POLICY = Role("policy", "attempts.policy.server", "TOOLWISE_POLICY")
