"""
The error answers of Graph: one exception that carries everything its envelope needs.
"""

from collections.abc import Mapping


class GraphError(Exception):
    """
    An answer other than success.

    Args:
        status: HTTP status.
        code: the `error.code` of the envelope.
        message: the `error.message`.
        headers: extra response headers.
        inner: extra members of `innerError`.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
        inner: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})
        self.inner = dict(inner or {})


def bad_request(message: str, code: str = "BadRequest") -> GraphError:
    """400 for a body or option that cannot be."""
    return GraphError(400, code, message)


def bad_token() -> GraphError:
    """400 for a paging or delta token that does not open."""
    return GraphError(400, "BadRequest", "Badly formed token.")


def no_user(key: str) -> GraphError:
    """404 of the directory."""
    text = (
        f"Resource '{key}' does not exist or one of its queried reference-property objects "
        "are not present."
    )
    return GraphError(404, "Request_ResourceNotFound", text)


def no_mail_item() -> GraphError:
    """404 of Exchange."""
    return GraphError(404, "ErrorItemNotFound", "The specified object was not found in the store.")


def no_file() -> GraphError:
    """404 of OneDrive and SharePoint."""
    return GraphError(404, "itemNotFound", "The resource could not be found.")
