"""A web server that forks a process for each request, on a port of its own choice."""

import http.server
import os
import signal
import socketserver


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"Process {os.getpid()}, parent {os.getppid()}.\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """No log."""


class Server(socketserver.ForkingMixIn, http.server.HTTPServer):
    request_queue_size = 128


def main():
    server = Server(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port}/", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: exit(0))
    server.serve_forever()


if __name__ == "__main__":
    main()
