"""Fetches with python `requests` and its own digest authentication, as people's scripts do.

fetch_requests.py BASE PUBLIC PRIVATE PATH...    prints a JSON list with each path's answer,
                                                  and what its header says of coverage
"""

import json
import sys

import requests
from requests.auth import HTTPDigestAuth

base, public, private, *paths = sys.argv[1:]
session = requests.Session()
session.auth = HTTPDigestAuth(public, private)
answers = []
for path in paths:
    response = session.get(base + path, headers={"Accept": "application/vnd.atlas.2023-01-01+json"}, timeout=60)
    response.raise_for_status()
    answers.append({"answer": response.json(), "coverage": response.headers.get("Doorbook-Coverage")})
print(json.dumps(answers))
