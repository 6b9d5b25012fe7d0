"""Environments that are not our sandbox: MCP servers, HTTP servers, registered classes."""
