"""What all records of a run share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A part of a record: it does not change, and has no field that is not known."""

    model_config = ConfigDict(frozen=True, extra="forbid")
