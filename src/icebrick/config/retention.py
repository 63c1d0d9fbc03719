"""The policy that the options which say what is kept make together."""

from __future__ import annotations

from icebrick.config.keep import KEEP, KEEP_OLDEST, KEEP_OPTIONS, KEEP_TAG, KEEP_WITHIN, KEEP_WITHIN_EACH
from icebrick.config.resolve import Resolver
from icebrick.repository.retention import Policy


def retention_policy(resolver: Resolver, section: str | None) -> Policy:
    """That of one source: rules on the command line are all there are, and those of the file do not add to them."""
    found = {option: resolver.look_up(option, section) for option in KEEP_OPTIONS}
    rank = min(each.rank for option, each in found.items() if option is not KEEP_OLDEST)
    said = {option: each.value if each.rank == rank else option.default for option, each in found.items()}
    within_each = {period: said[option] for period, option in KEEP_WITHIN_EACH.items()}
    return Policy(
        {period: count for period, option in KEEP.items() if (count := said[option])},
        said[KEEP_WITHIN],
        {period: span for period, span in within_each.items() if span is not None},
        said[KEEP_TAG].lists,
        found[KEEP_OLDEST].value,
    )
