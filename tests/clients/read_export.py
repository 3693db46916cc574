"""Reads an archive that Doorbook exported, with Python's own zip and csv.

    read_export.py FILE

Prints one JSON object: {"manifest", "rows", "sha256"}; rows as objects, of CSV with every value as its text; the sum is that
of the file that the manifest is about.
"""

import csv
import hashlib
import io
import json
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as archive:
    files = {name: archive.read(name) for name in archive.namelist()}
manifest = json.loads(files.pop("manifest.json"))
[(name, content)] = files.items()
text = content.decode("utf-8-sig")
if name.endswith(".csv"):
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
else:
    # Not splitlines: names may hold what Python, too, takes for the end of a line.
    rows = [json.loads(line) for line in text.split("\n") if line]
print(json.dumps({"manifest": manifest, "rows": rows, "sha256": hashlib.sha256(content).hexdigest()}))
