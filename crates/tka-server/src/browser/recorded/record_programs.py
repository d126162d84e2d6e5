"""Records what programs send that ask for a kubeconfig: each command line is run with the URL of a listener as its last argument.

    python3 record_programs.py FILE 'NAME=COMMAND …' …
"""

import http.server
import shlex
import subprocess
import sys
import threading

heads = {}


class Listener(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        name = self.path.split("?")[0].strip("/").split("/")[0]
        lines = [f"{self.command} /{name} HTTP/1.1"] + [f"{name}: {value}" for name, value in self.headers.items()]
        heads[name] = [line for line in lines if not line.lower().startswith("host:")]
        body = b"{}"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)
threading.Thread(target=server.serve_forever, daemon=True).start()
for argument in sys.argv[2:]:
    name, command = argument.split("=", 1)
    url = f"http://127.0.0.1:{server.server_address[1]}/{name}"
    subprocess.run([part.replace("URL", url) for part in shlex.split(command)], capture_output=True, timeout=60)
with open(sys.argv[1], "w") as file:
    file.write("\n\n".join("\n".join(head) for _, head in sorted(heads.items())) + "\n")
print(" ".join(sorted(heads)))
