# SPDX-License-Identifier: Apache-2.0
"""Servers that give tokens, and an origin that wants signatures, over TLS on loopback. They check what they are sent as those they
play do, with an implementation of their own: GitHub's of Apps (RS256 by openssl), OAuth 2 (RFC 6749 4.4, RFC 8693), AWS STS and
an origin like S3 (Signature Version 4, from its description). What was wrong with a request is its answer's body.
"""

import base64
import calendar
import hashlib
import hmac
import json
import pathlib
import secrets
import subprocess
import tempfile
import time
import urllib.parse

import origin

APP, INSTALLATION, CLIENT = "12345", "42", "a client:of ours"
ACCESS_KEY = "AKIDLONGLIVEDOFOURS"
FORM = "application/x-www-form-urlencoded"


def openssl(*words, stdin=None):
    return subprocess.run(["openssl", *map(str, words)], input=stdin, capture_output=True, check=False)


class AppKey:
    """An App's key: `pem` (PKCS #1, or #8) is what GitHub gives once, the public half is what it keeps."""

    def __init__(self, folder, pkcs8=False, bits=2048):
        self.file, self.public = pathlib.Path(folder) / "app.pem", pathlib.Path(folder) / "app.pub"
        pathlib.Path(folder).mkdir(exist_ok=True)
        openssl("genrsa", *([] if pkcs8 else ["-traditional"]), "-out", self.file, bits)
        openssl("rsa", "-in", self.file, "-pubout", "-out", self.public)
        self.pem = self.file.read_bytes()

    def verifies(self, text, signature):
        with tempfile.NamedTemporaryFile() as f:
            f.write(signature)
            f.flush()
            return openssl("dgst", "-sha256", "-verify", self.public, "-signature", f.name, stdin=text).returncode == 0


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# ---- AWS Signature Version 4, read from a request as it came ----

def quoted(text, keep=""):
    return urllib.parse.quote(text, safe="-_.~" + keep)


def canonical_path(path, service):
    if service == "s3":
        return quoted(urllib.parse.unquote_to_bytes(path), "/")
    while "//" in path:
        path = path.replace("//", "/")
    return quoted(path, "/")


def canonical_query(query):
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    return "&".join(f"{n}={v}" for n, v in sorted((quoted(urllib.parse.unquote_to_bytes(n.replace("+", " "))),
                                                   quoted(urllib.parse.unquote_to_bytes(v.replace("+", " ")))) for n, v in pairs))


def signature_fault(handler, body, service, keys):
    """None, or what is wrong with the request's signature. `keys`: access key id → (secret, session token or None)."""
    headers = handler.headers
    words = headers.get("authorization", "")
    if not words.startswith("AWS4-HMAC-SHA256 "):
        return "no signature"
    parts = dict(part.strip().split("=", 1) for part in words.split(" ", 1)[1].split(","))
    key_id, day, region, its_service, end = parts["Credential"].split("/")
    if key_id not in keys or end != "aws4_request" or its_service != service:
        return f"unknown credential {key_id} for {its_service}"
    secret, session = keys[key_id]
    date = headers.get("x-amz-date", "")
    if not date.startswith(day) or abs(calendar.timegm(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.time()) > 900:
        return f"a date that is not now: {date}"
    if headers.get("x-amz-security-token") != session:
        return "not the session's token"
    names = parts["SignedHeaders"].split(";")
    for name in {n.lower() for n in headers.keys() if n.lower().startswith("x-amz-")} | {"host"}:
        if name not in names:
            return f"{name} is not signed"
    payload = hashlib.sha256(body).hexdigest()
    if service == "s3":
        if headers.get("x-amz-content-sha256") not in ("UNSIGNED-PAYLOAD", payload):
            return "x-amz-content-sha256 is not the body's"
        payload = headers["x-amz-content-sha256"]
    path, _, query = handler.path.partition("?")
    lines = [f"{n}:{','.join(' '.join(v.split()) for v in headers.get_all(n, []))}" for n in names]
    canonical = "\n".join([handler.command, canonical_path(path, service), canonical_query(query), *lines, "", parts["SignedHeaders"], payload])
    text = "\n".join(["AWS4-HMAC-SHA256", date, f"{day}/{region}/{service}/aws4_request", hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + secret.encode()
    for step in (day, region, service, "aws4_request", text):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    return None if hmac.compare_digest(key.hex(), parts["Signature"]) else f"SignatureDoesNotMatch of\n{canonical}"


# ---- servers ----

class Handler(origin.Handler):
    def refuse(self, status, text):
        self.server.origin.faults.append(text)
        self.answer(status, text.encode())

    def give(self, status=200, **members):
        self.answer(status, json.dumps(members).encode(), content_type="application/json")

    def new_token(self, prefix):
        token = prefix + secrets.token_hex(20)
        self.server.origin.tokens.append(token)
        return token

    # POST /app/installations/ID/access_tokens
    def at_app(self, _query, body):
        o = self.server.origin
        if self.command != "POST" or self.path != f"/app/installations/{INSTALLATION}/access_tokens":
            return self.refuse(404, f"nothing at {self.command} {self.path}")
        words = self.headers.get("authorization", "")
        parts = words.removeprefix("Bearer ").split(".")
        if not words.startswith("Bearer ") or len(parts) != 3:
            return self.refuse(401, "no JWT")
        if not o.app_key.verifies(".".join(parts[:2]).encode(), unbase64url(parts[2])):
            return self.refuse(401, "the JWT's signature is wrong")
        head, claims = (json.loads(unbase64url(p)) for p in parts[:2])
        now = time.time()
        if head != {"alg": "RS256", "typ": "JWT"} or claims["iss"] != APP:
            return self.refuse(401, f"{head} {claims}")
        if not claims["iat"] <= now < claims["exp"] <= claims["iat"] + 600:
            return self.refuse(401, f"not now: {claims}")
        if self.headers.get("accept") != "application/vnd.github+json" or not self.headers.get("user-agent"):
            return self.refuse(403, "no accept, or no user agent")
        o.bodies.append(json.loads(body) if body else None)
        expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 3600))
        return self.give(201, token=self.new_token("ghs_"), expires_at=expires, permissions={"contents": "read"})

    # POST /token
    def at_token(self, _query, body):
        o = self.server.origin
        if self.command != "POST" or self.headers.get("content-type") != FORM:
            return self.refuse(400, "not a form")
        form = dict(urllib.parse.parse_qsl(body.decode(), strict_parsing=True))
        o.bodies.append(form)
        if form.get("grant_type") == "client_credentials":
            words = base64.b64decode(self.headers.get("authorization", "").removeprefix("Basic ")).decode()
            pair = tuple(urllib.parse.unquote_plus(half) for half in words.split(":"))
            if pair != (CLIENT, o.client_secret):
                o.faults.append(f"client {pair[0]}")
                return self.give(401, error="invalid_client", error_description="nobody repeats this-part-of-it")
        elif form.get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" or form.get("subject_token") != o.client_secret:
            o.faults.append("grant")
            return self.give(400, error="invalid_grant")
        return self.give(access_token=self.new_token("at."), token_type="Bearer", expires_in=o.expires_in)

    # POST / of STS
    def at_root(self, _query, body):
        o = self.server.origin
        fault = signature_fault(self, body, "sts", o.keys)
        form = dict(urllib.parse.parse_qsl(body.decode()))
        if fault or form.get("Action") != "AssumeRole" or form.get("Version") != "2011-06-15":
            o.faults.append(fault or str(form))
            return self.give(403, Error={"Code": "SignatureDoesNotMatch", "Message": fault})
        o.bodies.append(form)
        key_id, secret, session = "ASIA" + secrets.token_hex(8).upper(), secrets.token_urlsafe(30), self.new_token("session.")
        o.keys[key_id] = (secret, session)
        o.tokens.append(secret)
        return self.give(AssumeRoleResponse={"AssumeRoleResult": {"Credentials": {
            "AccessKeyId": key_id, "SecretAccessKey": secret, "SessionToken": session, "Expiration": time.time() + 900}}})

    # anything of the service that is signed for
    def at_signed(self, _query, body):
        o = self.server.origin
        fault = signature_fault(self, body, o.service, o.keys)
        if fault:
            return self.refuse(403, fault)
        return self.answer(200, f"signed for {self.command} {len(body)}\n".encode())

    # anything that wants one of our tokens
    def at_api(self, _query, _body):
        token = self.headers.get("authorization", "").removeprefix("Bearer ")
        if token not in self.server.origin.tokens:
            return self.refuse(401, "an unknown token")
        return self.answer(200, b"known\n")


class TokenServer(origin.Origin):
    """`tokens`: given, in order. `faults`: what was wrong with what came. `bodies`: of requests for tokens that were good."""

    def __init__(self, tls, app_key=None, client_secret=None, access_secret=None, service="s3", expires_in=3600):
        super().__init__("127.0.0.1", tls, Handler)
        self.app_key, self.client_secret, self.service, self.expires_in = app_key, client_secret, service, expires_in
        self.keys = {ACCESS_KEY: (access_secret, None)} if access_secret else {}
        self.tokens, self.faults, self.bodies = [], [], []
