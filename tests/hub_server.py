"""A stand-in for the Hugging Face hub: the part of its HTTP API that the real client asks for models, in this process.

Commits hold whole trees. Files travel in the commit itself; nothing is large.
"""

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml
from huggingface_hub import constants

HOME = constants.ENDPOINT
"""Where the client believes that repositories are."""

TOKENS = {"hf_owner": "me", "hf_other": "other"}


class Repository:
    def __init__(self, private, owner):
        self.private, self.owner = private, owner
        self.commits, self.branches, self.messages = {}, {}, []
        self.commit("main", {".gitattributes": b"*.onnx filter=lfs\n"}, [])

    def commit(self, branch, added, removed):
        tree = dict(self.commits.get(self.branches.get(branch), {}))
        for name in removed:
            del tree[name]
        tree |= added
        oid = hashlib.sha1(f"{branch}{len(self.commits)}".encode()).hexdigest()
        self.commits[oid], self.branches[branch] = tree, oid
        return oid

    def tree(self, revision):
        oid = self.branches.get(revision, revision)
        return (oid, self.commits[oid]) if oid in self.commits else None


class Hub:
    def __init__(self):
        self.repositories, self.asked, self.ignored = {}, [], ()

    def answer(self, method, path, body, token):
        """Status, headers and content."""
        self.asked.append((method, path))
        who = TOKENS.get(token)
        if path == "/api/repos/create":
            return self.create(json.loads(body), who)
        if path == "/api/validate-yaml":
            told = yaml.safe_load(json.loads(body)["content"].split("---")[1])
            wrong = [] if isinstance(told["tags"], list) else [{"message": '"tags" must be an array'}]
            return 400 if wrong else 200, {}, json.dumps({"errors": wrong, "warnings": []}).encode()
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(\w+)/([^/]+))?(?:/(.*))?", path):
            return self.api(method, found, body, who)
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve(found, who)
        return 404, {}, b"{}"

    def create(self, asked, who):
        if who is None:
            return 401, {}, b'{"error": "Invalid username or password."}'
        name = f"{asked.get('organization') or who}/{asked['name']}"
        if not name.startswith(f"{who}/"):
            return 403, {}, b'{"error": "You do not have the rights to create a model there"}'
        if name in self.repositories:
            return 409, {}, json.dumps({"error": "You already created this model repo", "url": name}).encode()
        self.repositories[name] = Repository(asked.get("private") or asked.get("visibility") == "private", who)
        return 200, {}, json.dumps({"url": f"{HOME}/{name}", "name": name, "id": "1"}).encode()

    def seen(self, name, who):
        repository = self.repositories.get(name)
        return None if repository is None or (repository.private and who != repository.owner) else repository

    def api(self, method, found, body, who):
        name, verb, revision = found[1], found[2], unquote(found[3] or "main")
        if (repository := self.seen(name, who)) is None:
            return 404 if who else 401, {"X-Error-Code": "RepoNotFound"}, b'{"error": "Repository not found"}'
        if method == "POST" and who != repository.owner:
            return 403, {}, b'{"error": "Forbidden: pass create_pr=1"}'
        if verb == "branch":
            repository.branches.setdefault(revision, repository.branches["main"])
            return 200, {}, b"{}"
        if (at := repository.tree(revision)) is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b'{"error": "Invalid rev id"}'
        oid, tree = at
        if verb == "preupload":
            files = json.loads(body)["files"]
            modes = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": f["path"] in self.ignored} for f in files
            ]
            return 200, {}, json.dumps({"files": modes}).encode()
        if verb == "commit":
            lines = [json.loads(line) for line in body.splitlines()]
            added = {o["value"]["path"]: base64.b64decode(o["value"]["content"]) for o in lines if o["key"] == "file"}
            removed = [o["value"]["path"] for o in lines if o["key"] == "deletedFile"]
            oid = repository.commit(revision, added, removed)
            return (
                200,
                {},
                json.dumps({"success": True, "commitOid": oid, "commitUrl": f"{HOME}/{name}/commit/{oid}"}).encode(),
            )
        if verb == "tree":
            entries = [{"type": "file", "path": n, "size": len(c), "oid": digest(c)} for n, c in tree.items()]
            return 200, {}, json.dumps(entries).encode()
        card = {"license": "llama2"} if b"license: llama2" in tree.get("README.md", b"") else {}
        info = {"id": name, "sha": oid, "siblings": [{"rfilename": n} for n in tree], "cardData": card, "tags": []}
        return 200, {}, json.dumps({**info, "private": False, "downloads": 0, "likes": 0}).encode()

    def resolve(self, found, who):
        if (repository := self.seen(found[1], who)) is None:
            return 404 if who else 401, {"X-Error-Code": "RepoNotFound"}, b""
        if (at := repository.tree(unquote(found[2]))) is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        oid, tree = at
        if (content := tree.get(unquote(found[3]))) is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": oid}, b""
        return 200, {"X-Repo-Commit": oid, "ETag": f'"{digest(content)}"'}, content


def digest(content):
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serving(hub):
    """Its address, while it is served."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Transfer-Encoding") == "chunked":
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
            token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            status, headers, content = hub.answer(self.command, urlsplit(self.path).path, body, token)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": len(content)}.items():
                self.send_header(name, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_HEAD = do_POST = do

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
