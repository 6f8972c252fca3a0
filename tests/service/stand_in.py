"""A small server of the page and of the part of the service that it uses, answered by the real runtime."""

from __future__ import annotations

import json
import mimetypes
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import numpy.typing as npt

from gfnet_dynn.bundle.policy import Policy
from gfnet_dynn.errors import GFNetDynnError
from gfnet_dynn.exits import NEVER, score_at, softmax
from gfnet_dynn.images.decode import read_image
from gfnet_dynn.runtime import Classifier, load
from tests.loopback import serving

POLICY = "default-src 'self'; img-src 'self' blob: data:"
MODELS = {"aerial": "Aerial scenes, 21 classes of land use", "sentinel2": "Sentinel-2 scenes, 10 classes of land cover"}
_COSTS = {"1-point": 0.55, "fast": 0.49, "full": 1.0}


@contextmanager
def serve() -> Iterator[str]:
    """Serve until the block ends; the address."""
    with serving(_Handler) as address:
        yield address


@cache
def classifier(name: str) -> Classifier:
    return load(name, threads=1)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/" or path.startswith("/page/"):
            self._send_file("index.html" if path == "/" else path.removeprefix("/page/"))
        elif path == "/models":
            self._send(HTTPStatus.OK, {"models": [described(name) for name in MODELS], "maps": True})
        elif path == "/status":
            self._send(HTTPStatus.OK, STATUS)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"there is no {path}")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        query = {name: values[-1] for name, values in parse_qs(urlsplit(self.path).query).items()}
        try:
            answer = predicted(content, **query)
        except GFNetDynnError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        else:
            self._send(HTTPStatus.OK, {"model": query["model"], "digest": "0" * 12, "predictions": [answer]})

    def _send_file(self, name: str) -> None:
        file = resources.files("gfnet_dynn.service") / "page" / name
        if "/" in name or not file.is_file():
            return self._refuse(HTTPStatus.NOT_FOUND, f"there is no {name}")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return self._send_bytes(HTTPStatus.OK, file.read_bytes(), kind)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        problem = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
        self._send_bytes(status, json.dumps(problem).encode(), "application/problem+json")

    def _send(self, status: HTTPStatus, value: Mapping[str, Any]) -> None:
        self._send_bytes(status, json.dumps(value).encode(), "application/json")

    def _send_bytes(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Stay quiet."""


def described(name: str) -> dict[str, Any]:
    """The entry of a model in /models."""
    manifest = classifier(name).manifest
    return {
        "name": name,
        "title": MODELS[name],
        "model": "efficientnet-lite0",
        "digest": "0" * 12,
        "classes": list(manifest.classes),
        "default_policy": manifest.policies[0].name,
        "precision": "fp32",
        "input_size": manifest.input.size,
        "gsd_m": [0.15, 1.0] if name == "aerial" else [10.0, 10.0],
        "policies": [_described_policy(policy) for policy in manifest.policies],
        "exits": [{"name": each.name, "macs": each.macs, "ms": round(each.macs / 2.5e7, 2)} for each in manifest.exits],
    }


def _described_policy(policy: Policy) -> dict[str, Any]:
    thresholds = [None if value == NEVER else value for value in policy.thresholds]
    statement = str(policy.guarantee.get("statement", ""))
    shown = {"name": policy.name, "thresholds": thresholds, "score": policy.score, "statement": statement}
    return {**shown, "macs_share": _COSTS[policy.name]}


def predicted(
    content: bytes, model: str, policy: str, top: str = "5", every_exit: str = "false", **_: str
) -> dict[str, Any]:
    """The prediction for one image.

    Raises:
        GFNetDynnError: unreadable image, unknown model or policy.
    """
    known = classifier(model)
    chosen = known.policy(policy)
    image = known.read(read_image(content))
    answer = known.classify(image, policy=policy)[0]
    return {
        **answer.to_dict(int(top)),
        "macs_share": answer.macs / known.manifest.exits[-1].macs,
        "promise": "holds" if chosen.guarantee.get("statement") else "none",
        "lowered": None,
        "asked_policy": policy,
        "times_ms": {"decode": 0.6, "queue": 0.1, "network": 4.9, "total": 5.6},
        **({"exits": all_exits(known, chosen, image, int(top))} if every_exit == "true" else {}),
    }


def all_exits(known: Classifier, policy: Policy, image: npt.NDArray[np.uint8], top: int) -> list[dict[str, Any]]:
    """What each exit says of one image, with the score that is compared with the policy's threshold."""
    outputs, found = known.net.all_exits(image[None]), []
    labels = outputs.logits.argmax(axis=2)
    for index, exit_ in enumerate(known.manifest.exits):
        logits = outputs.logits[:, index]
        score = None
        if index < outputs.gates.shape[1]:
            gate, before = outputs.gates[:, index], labels[:, :index]
            score = float(score_at(policy.score, policy.fitted, index, logits, gate, before)[0])
        probabilities = softmax(policy.fitted.scaled(index, logits))[0]
        best = np.argsort(-probabilities, kind="stable")[:top]
        named = {known.manifest.classes[each]: float(probabilities[each]) for each in best}
        label, confidence = next(iter(named.items()))
        said = {"exit": exit_.name, "score": score, "label": label, "confidence": confidence, "macs": exit_.macs}
        found.append({**said, "probabilities": named})
    return found


STATUS = {
    "uptime_s": 5400,
    "models": {
        name: {
            "answered": 1284,
            "rejected": 3,
            "late": 1,
            "queue": 2,
            "level": "full",
            "exit_names": ["exit 1", "exit 2", "exit 3", "exit 4", "final"],
            "exit_shares": [0.31, 0.22, 0.17, 0.12, 0.18],
            "latency_ms": {"median": 2.1, "p99": 9.8},
            "macs_share": 0.47,
            "promise": {
                "1-point": {"status": "holds", "evidence": 1.34, "alarm_at": 200, "images": 512},
                "fast": {"status": "none", "evidence": None, "alarm_at": None, "images": 0},
            },
        }
        for name in MODELS
    },
}
