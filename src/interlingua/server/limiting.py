"""The config's limits, and what of today's budgets is used already."""

import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from interlingua.config.schema import Config
from interlingua.gateway.allowance import of_deployment, of_key
from interlingua.gateway.limits import Limit
from interlingua.storage.collector import places
from interlingua.storage.ledger import Ledger, LedgerBusy

_log = logging.getLogger("interlingua.server")
_DAY_S = 86400


def limits_of(config: Config) -> dict[str, Limit]:
    """Every limit of the config, by the name that it is kept under."""
    keys = {
        of_key(each.name): Limit(
            requests_per_minute=each.requests_per_minute,
            tokens_per_minute=each.tokens_per_minute,
            tokens_per_day=each.tokens_per_day,
        )
        for each in config.key
    }
    deployments = {
        of_deployment(each.name): Limit(
            requests_per_minute=each.requests_per_minute,
            tokens_per_minute=each.tokens_per_minute,
        )
        for each in config.deployment
    }
    return {name: limit for name, limit in (keys | deployments).items() if limit != Limit()}


def used_today(config: Config, data_dir: Path) -> Mapping[str, int]:
    """The tokens that keys with a budget have used since midnight, UTC, as far as usage is
    kept.
    """
    names = {each.name for each in config.key if each.tokens_per_day is not None}
    file, spools = places(data_dir)
    if not names or not config.server.usage:
        return {}
    ledger = Ledger(file)
    with contextlib.closing(ledger):
        try:
            # What a server that was killed left behind.
            ledger.collect(spools)
            rows = ledger.rows(["key"], since=time.time() // _DAY_S * _DAY_S)
        except LedgerBusy as error:
            _log.warning("Today's budgets begin anew: %s", error)
            return {}
    return {
        of_key(row.group["key"]): row.prompt_tokens + row.completion_tokens
        for row in rows
        if row.group["key"] in names
    }
