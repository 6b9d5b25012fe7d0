"""Asking a server over HTTP whether it is there and what it serves."""

import ipaddress

import httpx

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)


def root_of(base_url: str) -> str:
    """The server's root, under which /health and /metrics lie beside /v1."""
    return base_url.rstrip("/").removesuffix("/v1")


def is_loopback(url: str) -> bool:
    """Whether what is sent there stays on this machine."""
    host = httpx.URL(url).host
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def ask(url: str, api_key: str | None = None) -> httpx.Response:
    """The answer to a GET; a proxy is never asked for what lies on this machine. Raises httpx.HTTPError."""
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    with httpx.Client(trust_env=not is_loopback(url), timeout=_TIMEOUT) as client:
        return client.get(url, headers=headers)


def served_models(answer: httpx.Response) -> list[str]:
    """The names in a list of models. Raises ValueError if it is none."""
    try:
        return [str(model["id"]) for model in answer.json()["data"]]
    except (KeyError, TypeError) as error:
        raise ValueError("no list of models") from error
