"""Looks clusters and hosts up with `atlasapi`, which has no method for the access history.

fetch_atlasapi.py BASE PUBLIC PRIVATE GROUP    prints {"clusters": [names], "hosts": [names]}
"""

import json
import sys

from atlasapi.atlas import Atlas
from atlasapi.settings import Settings

base, public, private, group = sys.argv[1:]
Settings.BASE_URL = base
atlas = Atlas(public, private, group)
clusters = sorted(cluster["name"] for cluster in atlas.Clusters.get_all_clusters(iterable=True))
atlas.Hosts.fill_host_list()
print(json.dumps({"clusters": clusters, "hosts": sorted(atlas.Hosts.host_names)}))
