"""Records what a browser sends to a server by plain HTTP, for each way in which a page can make it send a GET.

    python3 record.py chromium FILE
    python3 record.py firefox-esr FILE

It serves a foreign page and the server that the page aims at, both on loopback and under names that a browser does not trust more
than any other, and runs the browser without a window. FILE is written when every kind came, or after a time. See README.md.
"""

import http.server
import re
import subprocess
import sys
import tempfile
import threading
import time

TARGET, FOREIGN = "tka.tailnet.test", "foreign.example"

PAGE = """<!doctype html><meta name="referrer" content="%(referrer)s">
<link rel="stylesheet" href="%(target)s/stylesheet%(suffix)s"><link rel="prefetch" href="%(target)s/prefetch%(suffix)s">
<link rel="preload" as="image" href="%(target)s/preload%(suffix)s"><link rel="icon" href="%(target)s/icon%(suffix)s">
<script src="%(target)s/script%(suffix)s"></script><style>body { background: url(%(target)s/background%(suffix)s) }</style>
<img src="%(target)s/image%(suffix)s"><img src="/redirect%(suffix)s"><iframe src="%(target)s/iframe%(suffix)s"></iframe>
<object data="%(target)s/object%(suffix)s"></object><embed src="%(target)s/embed%(suffix)s">
<audio src="%(target)s/audio%(suffix)s" preload="auto"></audio><video src="%(target)s/video%(suffix)s" preload="auto"></video>
<video><track default kind="captions" src="%(target)s/track%(suffix)s"></video>
<iframe name="form"></iframe><form target="form" action="%(target)s/form%(suffix)s"><input name="credential" value="token"></form>
<iframe srcdoc='<meta http-equiv="refresh" content="0;url=%(target)s/refresh%(suffix)s">'></iframe>
<script>
const target = "%(target)s", suffix = "%(suffix)s";
document.forms[0].submit();
fetch(target + "/fetch-no-cors" + suffix, {mode: "no-cors"}).catch(() => 0);
fetch(target + "/fetch-disguised" + suffix, {mode: "no-cors", referrerPolicy: "no-referrer", credentials: "omit", cache: "no-store",
  headers: {"Accept-Language": "", "Accept": "*/*", "User-Agent": "Go-http-client/1.1"}}).catch(() => 0);
fetch(target + "/fetch-head" + suffix, {mode: "no-cors", method: "HEAD"}).catch(() => 0);
fetch(target + "/fetch-cors" + suffix).catch(() => 0);
fetch(target + "/fetch-keepalive" + suffix, {mode: "no-cors", keepalive: true}).catch(() => 0);
const request = new XMLHttpRequest(); request.open("GET", target + "/xhr" + suffix); request.send();
new EventSource(target + "/event-source" + suffix);
new WebSocket(target.replace("http:", "ws:") + "/websocket" + suffix);
navigator.sendBeacon(target + "/beacon" + suffix);
fetch(target + "/post-no-cors" + suffix, {mode: "no-cors", method: "POST"}).catch(() => 0);
new Worker(URL.createObjectURL(new Blob([`importScripts("${target}/worker${suffix}")`])));
setTimeout(() => { location = "%(next)s" }, 4000);
</script>"""

OWN = """<!doctype html><script>
fetch("/own-fetch").catch(() => 0);
const request = new XMLHttpRequest(); request.open("GET", "/own-xhr"); request.send();
fetch("/own-post", {method: "POST"}).catch(() => 0);
</script><img src="/own-image">"""

heads, lock = {}, threading.Lock()


class Quiet(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body, media_type="text/html", status=200, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class Target(Quiet):
    def record(self):
        kind = self.path.split("?")[0]
        # As it was sent, but for the host and ports of this run.
        lines = [f"{self.command} {kind} HTTP/1.1"] + [f"{name}: {value}" for name, value in self.headers.items()]
        with lock:
            heads.setdefault(kind, [line for line in lines if not line.lower().startswith("host:")])
        self.answer(OWN.encode() if kind in ("/typed", "/navigation-with-referrer") else b"")

    do_GET = do_HEAD = do_POST = do_OPTIONS = record


class Foreign(Quiet):
    def do_GET(self):
        kind = self.path.split("?")[0]
        if kind.startswith("/redirect"):
            return self.answer(b"", status=302, headers=[("Location", f"{target}{kind}")])
        if kind == "/":
            page = {"referrer": "no-referrer", "suffix": "", "next": "/second"}
        elif kind == "/second":
            page = {"referrer": "unsafe-url", "suffix": "-with-referrer", "next": f"{target}/navigation-with-referrer"}
        else:
            return self.answer(b"", status=404)
        self.answer((PAGE % (page | {"target": target})).encode())


def serve(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def browse(browser, url, seconds):
    with tempfile.TemporaryDirectory() as profile:
        if "firefox" in browser:
            with open(f"{profile}/user.js", "w") as prefs:
                prefs.write('user_pref("network.dns.forceResolve", "127.0.0.1");\n')
                prefs.write('user_pref("datareporting.policy.dataSubmissionEnabled", false);\n')
                prefs.write('user_pref("dom.security.https_first", false);\n')
            command = [browser, "--headless", "--no-remote", "--profile", profile, url]
        else:
            command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}", "--no-first-run",
                       "--disable-features=HttpsUpgrades,HttpsFirstBalancedMode", "--host-resolver-rules=MAP * 127.0.0.1",
                       "--remote-debugging-port=0", url]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.terminate()
        process.wait()


browser, path = sys.argv[1:]
target, foreign = f"http://{TARGET}:{serve(Target)}", f"http://{FOREIGN}:{serve(Foreign)}"
browse(browser, f"{foreign}/", 45)
browse(browser, f"{target}/typed", 20)
with open(path, "w") as file:
    text = "\n\n".join("\n".join(head) for _, head in sorted(heads.items())) + "\n"
    file.write(re.sub(rf"http://({TARGET}|{FOREIGN}):\d+", r"http://\1", text))
print(f"{path}: {len(heads)} kinds: {' '.join(sorted(heads))}")
