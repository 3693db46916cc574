"""Asks an object store for one thing, signed (AWS Signature, version 4), with nothing but Python.

Usage: s3.py ENDPOINT KEY METHOD PATH[?QUERY] [HEADER:VALUE ...] < BODY

Prints the answer's body. A key's secret is `secret-KEY`; service and region are `s3` and `us-east-1`.
"""

import datetime
import hashlib
import hmac
import http.client
import sys
import urllib.parse

endpoint, key, method, target, *more = sys.argv[1:]
body = sys.stdin.buffer.read()
path, _, query = target.partition("?")
now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
day = f"{now[:8]}/us-east-1/s3/aws4_request"
sha256 = hashlib.sha256(body).hexdigest()
headers = {"host": endpoint, "x-amz-content-sha256": sha256, "x-amz-date": now}
for header in more:
    name, value = header.split(":", 1)
    headers[name.lower()] = value.strip()


def quote(text):
    return urllib.parse.quote(text, safe="-_.~")


pairs = sorted(urllib.parse.parse_qsl(query, keep_blank_values=True))
names = ";".join(sorted(headers))
canonical = "\n".join([
    method,
    path,
    "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs),
    *(f"{name}:{headers[name]}" for name in sorted(headers)),
    "",
    names,
    sha256,
])
signature = f"AWS4-HMAC-SHA256\n{now}\n{day}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
secret = f"AWS4secret-{key}".encode()
for part in day.split("/"):
    secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
signed = hmac.new(secret, signature.encode(), hashlib.sha256).hexdigest()
headers["authorization"] = (
    f"AWS4-HMAC-SHA256 Credential={key}/{day}, SignedHeaders={names}, Signature={signed}"
)
connection = http.client.HTTPConnection(endpoint, timeout=60)
connection.request(method, target, body, headers)
answer = connection.getresponse()
text = answer.read().decode("utf-8", "replace")
if answer.status >= 300:
    sys.exit(f"{method} {target}: {answer.status} {answer.reason}: {text}")
print(text, end="")
