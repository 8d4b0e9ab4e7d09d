"""A web server for what a program says of itself: few threads, bounded in everything."""

from gridbase.http.channel import Channel, EventStream
from gridbase.http.server import Limits, WebServer

__all__ = ["Channel", "EventStream", "Limits", "WebServer"]
