"""The page in a real browser: what only layout can tell."""

import copy
import json
import re
import shutil
import subprocess
import threading
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .conftest import reported, seen

# The page's own text and this, which notes where each text of the chart ends once it is drawn.
MEASURE = """<script>setTimeout(() => {
  const svg = document.getElementById("grid"), frame = svg.getBoundingClientRect();
  document.body.dataset.found = JSON.stringify([...svg.querySelectorAll("text")].map((one) => {
    const box = one.getBoundingClientRect();
    return [one.textContent, box.left - frame.left, frame.right - box.right];
  }));
}, 3000);</script>"""


@pytest.fixture
def chromium():
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("needs Debian's package chromium")
    return found


@pytest.fixture
def serve(html):
    """Serves the page with documents; yields what starts it and returns its address."""
    servers = []

    def start(status: dict, history: dict) -> str:
        documents = {"/": html + MEASURE}
        documents |= {"/api/page": json.dumps(seen(status)), "/api/history": json.dumps(history)}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = documents.get(self.path, "").encode()
                kind = "text/html" if self.path == "/" else "application/json"
                self.send_response(200)
                self.send_header("Content-Type", f"{kind}; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "shape", [("116463.41", "520.41", 390), ("0.00001353", "0.00000004", 1100)]
)
def test_no_price_of_the_chart_is_cut(chromium, serve, make_world, tmp_path, shape):
    price, step, width = shape
    status, history = copy.deepcopy(reported(make_world(), 60))
    grid = status["grids"][0]
    grid["price"] = price
    now_ms = time.time_ns() // 1_000_000
    history["grids"]["BTC/USDT"] = [[now_ms - 2, price], [now_ms - 1, price]]
    for line in grid["lines"]:
        line["price"] = f"{Decimal(price) + line['line'] * Decimal(step):f}"
    done = subprocess.run(
        [
            *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={tmp_path}/profile", f"--window-size={width},900"),
            *("--virtual-time-budget=6000", "--dump-dom", serve(status, history)),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = re.search(r'data-found="(.*?)"', done.stdout)
    assert found is not None, done.stdout[-2000:]
    texts = json.loads(found[1].replace("&quot;", '"'))
    assert len(texts) == 22 + 3  # and three times
    for text, left, right in texts:
        assert left >= 0, text
        assert right >= 0, text
