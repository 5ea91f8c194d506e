"""Clusters that only some runs know of: a log whose task names no `cluster_field` says that every item is its own cluster.

Items of one passage are not independent in any run, so what one run knows of them holds for all.
"""

from __future__ import annotations

import pandas as pd


def share_clusters(table: pd.DataFrame) -> pd.DataFrame:
    """`table` where an item that is its own cluster in some runs, and in one named cluster in others, is in that one in all.

    Needs the columns task, item_id and cluster_id. An item that two runs put into two named clusters stays as it is.
    """
    known = table[["task", "item_id", "cluster_id"]].drop_duplicates()
    several = known.duplicated(["task", "item_id"], keep=False)
    if not several.any():
        return table
    known = known[several]
    own = known["item_id"].str.partition("#")[0]
    named = known[(known["cluster_id"] != known["item_id"]) & (known["cluster_id"] != own)]
    named = named[~named.duplicated(["task", "item_id"], keep=False)]
    names = table[["task", "item_id"]].merge(named, how="left", on=["task", "item_id"])["cluster_id"]
    names.index = table.index
    return table.assign(cluster_id=names.fillna(table["cluster_id"]).astype(str))
