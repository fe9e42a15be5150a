"""The file `filter` of a group of events: one filter for every event that has its fields."""

import errno
from collections.abc import Callable

from tracefs.event import TraceEvent
from tracefs.filter_parse import FilterError, parse_filter
from tracefs.filters import read_filter

__all__ = ["HELP", "store_group_filter"]

HELP = (
    "### global filter ###\n# Use this to set filters for multiple events.\n"
    "# Only events with the given fields will be affected.\n"
    "# If no events are modified, an error message will be displayed here\n"
)
_NONE_FITS = "Couldn't find or set field in one of a subsystem's events"


def store_group_filter(events: Callable[[], list[TraceEvent]], data: bytes) -> None:
    """Set the filter of the group's events, or remove it with 0 (`apply_subsystem_event_filter`).

    An event that lacks a field is not filtered and shows why. EINVAL for a text of a page or more.
    """
    text = read_filter(data)
    for event in events():
        if not event.can_enable:
            continue
        if text.strip() == "0":
            event.filter.set(text)
            continue
        try:
            parse_filter(text, event.fields)
        except FilterError:
            event.filter.refuse(text, FilterError(errno.EINVAL, _NONE_FITS))
        else:
            event.filter.set(text)
