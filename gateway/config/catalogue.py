"""Which price catalogue counts: the one that ``spendgate prices update`` put into ``data_dir``, else the package's."""

from __future__ import annotations

from pathlib import Path

import msgspec

from gateway.config.schema import Config
from pricing.catalogue import Catalogue, load

FILE = "catalogue.json"


class CatalogueUnusable(ValueError):  # noqa: N818 - said in one line to a person
    """The file in ``data_dir`` is no catalogue."""


def catalogue_path(config: Config, base: Path) -> Path:
    """Where an updated catalogue lies; a relative ``data_dir`` is taken from ``base``, the configuration's folder."""
    return base / config.server.data_dir / FILE


def load_catalogue(config: Config, base: Path) -> Catalogue:
    """Raises ``CatalogueUnusable`` or ``OSError``."""
    path = catalogue_path(config, base)
    if not path.exists():
        return load()
    try:
        return load(path)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise CatalogueUnusable(
            f"{path} is no price catalogue ({error}): run spendgate prices update, or remove it for the package's own"
        ) from error
