"""A stand-in of a facilitator that does as it is told and notes what it was asked.  It settles nothing: for networks without rpc, where its word counts."""
import http.server
import json
import os
import threading


class Facilitator(http.server.ThreadingHTTPServer):
    """mode: ok; refuse; hold (until `go`)."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Answers)
        self.mode, self.go, self.settled = "ok", threading.Event(), []
        self.strangers = {"0x" + "22" * 20}  # contract wallets whose signature is not theirs
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = "http://127.0.0.1:%d/x402" % self.server_address[1]


class _Answers(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        payer = asked["paymentPayload"]["payload"]["authorization"]["from"]
        network = asked["paymentRequirements"]["network"]
        f = self.server
        if self.path == "/x402/verify":
            answer = {"isValid": True, "payer": payer} if payer not in f.strangers else \
                {"isValid": False, "invalidReason": "invalid_exact_evm_payload_signature", "payer": payer}
        else:
            f.settled.append(asked["paymentPayload"]["payload"]["authorization"]["nonce"])
            mode = f.mode
            if mode == "hold":
                f.go.wait(30)
            answer = {"success": True, "transaction": "0x" + os.urandom(32).hex(), "network": network, "payer": payer}
            if mode == "refuse":
                answer = {"success": False, "errorReason": "insufficient_funds", "transaction": "", "network": network, "payer": payer}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
