"""
Microsoft's clouds: where an application signs in, and where Graph is.

A token's audience is the cloud's own Graph, whatever address leads there (an emulator, a gateway). Clouds that are newer than
this program are `other`: both addresses are configured, and Graph's own is the audience.

Source: Graph page "National cloud deployments" (2026); which calls a cloud lacks is on the pages of the calls.
"""

from dataclasses import dataclass

__all__ = ["CLOUDS", "Cloud"]


@dataclass(frozen=True, slots=True)
class Cloud:
    """
    One cloud. `authority` and `graph_endpoint` are origins, empty where they have to be configured.

    `exports`: whether the import and export of mailbox items is offered there.
    """

    authority: str
    graph_endpoint: str
    exports: bool = False


CLOUDS = {
    "global": Cloud(
        "https://login.microsoftonline.com", "https://graph.microsoft.com", exports=True
    ),
    "us-government": Cloud("https://login.microsoftonline.us", "https://graph.microsoft.us"),
    "us-defense": Cloud("https://login.microsoftonline.us", "https://dod-graph.microsoft.us"),
    "china": Cloud(
        "https://login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn"
    ),
    "other": Cloud("", ""),
}
