"""The page of a campaign."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from multicopy_refinement.report.pages import FLAGS, template


def make_campaign_page(content: Mapping[str, Any]) -> str:
    """Return the page of what ``campaign.html.j2`` shows."""
    return template("campaign.html.j2").render(**content, flags=FLAGS)
