"""Recordings and journals as Parquet files: typed columns, for DuckDB, pandas, polars and the like."""

from rxbridge.export.parquet import Exported, export
from rxbridge.export.rows import KINDS, Kind

__all__ = ["KINDS", "Exported", "Kind", "export"]
