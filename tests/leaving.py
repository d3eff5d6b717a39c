"""Requests of every kind, and every way to leave before their answer has come."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

WAYS = ("close", "reset", "half-close", "http-1.0")
KINDS = ("completions", "chat", "several", "several-chats", "messages", "responses")


def request_of(kind: str, prompt: str, tokens: int) -> tuple[str, dict[str, Any]]:
    """Path below `/v1`, and body, of a request whose answer takes so many tokens."""
    messages = [{"role": "user", "content": prompt}]
    answer = {"max_tokens": tokens, "ignore_eos": True}
    several = {"n": 2, "temperature": 1.0} if kind.startswith("several") else {}
    if kind == "messages":
        return "messages", {"messages": messages, "max_tokens": tokens}
    if kind == "responses":
        return "responses", {"input": prompt, "max_output_tokens": tokens}
    if kind in {"chat", "several-chats"}:
        return "chat/completions", {"messages": messages, **answer, **several}
    return "completions", {"prompt": prompt, **answer, **several}


def ask(
    url: str, way: str, body: Any, headers: Mapping[str, str] | None = None
) -> socket.socket:
    """A connection with a request on it, to leave in that way."""
    where, content = urlsplit(url), json.dumps(body)
    head = {
        "Host": where.netloc,
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **(headers or {}),
    }
    lines = [f"POST {where.path} HTTP/{'1.0' if way == 'http-1.0' else '1.1'}"]
    lines += [f"{name}: {value}" for name, value in head.items()]
    connection = socket.create_connection((where.hostname, where.port))
    connection.sendall("\r\n".join([*lines, "", content]).encode())
    return connection


def leave(connection: socket.socket, way: str) -> None:
    if way == "half-close":
        connection.shutdown(socket.SHUT_WR)
        return
    if way == "reset":
        option = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
    connection.close()
