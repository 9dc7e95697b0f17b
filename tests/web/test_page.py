"""web/page.py: what the page holds, uploads, takes, and what is refused."""

import asyncio
import json
import re
import threading
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from models.heads.flame import load_flame
from utils.errors import UserError
from web import addresses, app, folders, requests
from web import page as page_module
from web.addresses import address, is_loopback, url
from web.desk import Desk
from web.folders import Uploads
from web.page import STATIC, Page
from web.service import Draft, Take
from web.wish import EXAMPLES, Wish, word

STYLES = ["normal", "large_head_movements", "my_style"]


class Studio(SimpleNamespace):
    """A studio without a model."""

    usual_style = "normal"

    def style_names(self):
        return STYLES

    def identity_names(self):
        return ["average", "female_young"]

    def draft(self, wish, report, token):
        if wish.seed == 666:
            raise UserError("speech: no")
        folder = self.results / token
        folder.mkdir()
        for name in ("take.glb", "take.wav", "take_2.glb"):
            (folder / name).write_bytes(name.encode())
        return Draft(wish, folder, {})

    def finish(self, draft, report):
        for name in ("take.mp4", "take_livelink.csv", "take.csv", "take.zip"):
            (draft.folder / name).write_bytes(name.encode())
        return Take(draft.folder)

    def served(self, token, name):
        path = self.results / token / name
        return path if path.is_file() else None

    def preview(self, token, wish):
        return f"{token} {wish.large}".encode()


@pytest.fixture
def page(tmp_path):
    studio = Studio(results=tmp_path / "takes", flame=load_flame(None))
    studio.results.mkdir()
    desk = Desk(studio.draft, studio.finish)
    yield Page(studio, desk, Uploads(tmp_path / "uploads"), "http://192.0.2.7:7860")
    desk.close()


@pytest.fixture
def client(page):
    with TestClient(page.app("192.0.2.7")) as client:
        yield client


def finished(client, **wish) -> dict:
    """The last event of a take that is asked for."""
    token = client.post("/api/takes", json={"audio": next(iter(EXAMPLES)), **wish}).json()["token"]
    text = client.get(f"/api/takes/{token}/events").text
    return json.loads(text.strip().split("\n\n")[-1].removeprefix("data: "))


def test_the_page_uses_words_of_people(client):
    text = client.get("/").text
    for name in STYLES:
        assert f'<option value="{name}"' in text and f">{word(name)}</option>" in text
    assert "Lively head" in text and ">My style<" in text and "How strictly to follow the voice" in text
    shown = re.sub(r"<[^>]*>", "", text)
    assert "large_head_movements" not in shown and "guidance" not in shown.lower()


def test_every_control_is_a_setting(client):
    names = set(re.findall(r'name="(\w+)"', client.get("/").text)) - {"viewport"}
    names -= {"color-scheme"}
    assert names <= set(Wish.__dataclass_fields__) and names >= set(Wish.__dataclass_fields__) - {"motion"}


def test_nothing_comes_from_another_host(client):
    policy = client.get("/").headers["content-security-policy"]
    assert policy.startswith("default-src 'self'")
    files = [path for path in STATIC.iterdir() if path.suffix in (".js", ".css", ".html")]
    assert len(files) >= 5
    for path in files:
        assert not re.findall(r"https?://(?!127)", path.read_text()), path.name


def test_a_take_from_the_press_to_the_downloads(client):
    last = finished(client)
    assert last["state"] == "done" and last["ready"] == ["head", "video", "files"]
    assert last["heads"] == ["take.glb", "take_2.glb"]
    assert [file["name"] for file in last["files"]].index("take_2.glb") == 2  # below the first style's
    assert [file["group"] for file in last["files"]] == ["Video", "3-D", "3-D", "3-D", "Motion", "Motion", "All"]
    titles = {file["name"]: file["title"] for file in last["files"]}
    assert titles["take_livelink.csv"] == "Face capture" and titles["take_2.glb"].endswith("second style")
    again = client.get(f"/api/takes/{last['token']}").json()  # a reload
    assert again == last
    answer = client.get(f"/take/{last['token']}/take.mp4")
    assert answer.content == b"take.mp4" and answer.headers["content-disposition"].startswith("attachment")
    shown = client.get(f"/take/{last['token']}/take.mp4?shown", headers={"Range": "bytes=2-3"})
    assert (shown.status_code, shown.content) == (206, b"ke") and "inline" in shown.headers["content-disposition"]


def test_compared_styles_have_their_names(client):
    assert finished(client, style="normal", other="large_head_movements")["labels"] == ["Everyday", "Lively head"]


def test_mistakes_get_one_line(client):
    assert finished(client, seed=666)["error"] == "speech: no"
    for wish, message in (({}, "record something"), ({"audio": "x"}, "no longer here"),
                          ({"audio": "English, 3 s", "large": 10**400}, "large"),
                          ({"audio": "English, 3 s", "steps": "many"}, "steps")):  # fmt: skip
        answer = client.post("/api/takes", json=wish)
        assert answer.status_code == 400 and message in answer.json()["error"]
    for content in (b"{", b"[1]", b"[" * 9999):
        answer = client.post("/api/takes", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
    assert client.post("/api/takes", content=b"{}").status_code == 400  # as forms of other sites would send it
    assert client.post("/api/takes", json={"style": "x" * 20_000}).status_code == 413


def test_uploads(client, page, monkeypatch):
    kind = {"Content-Type": "application/octet-stream"}
    token = client.post("/api/uploads?name=../a b.wav", content=b"RIFF", headers=kind).json()["upload"]
    assert finished(client, audio=token)["state"] == "done"
    assert client.post("/api/uploads?name=a.wav", content=b"x").status_code == 415
    monkeypatch.setattr(page_module, "MAX_UPLOAD", 3)
    answer = client.post("/api/uploads?name=big.wav", content=b"RIFF", headers=kind)
    assert answer.status_code == 400 and answer.json()["error"].startswith("big.wav: larger than")
    assert [path.name for path in page.uploads.parent.iterdir()] == [token]
    monkeypatch.setattr(folders, "MAX_TOTAL", 6)
    monkeypatch.setattr(folders, "LEAST", 2)
    for status in (400, 200):  # 4 bytes are there, and 3 might come
        answer = client.post("/api/uploads?name=b.wav", content=b"x", headers=kind)
        assert answer.status_code == status
        if status == 400:
            assert "as many files as it may" in answer.json()["error"]
            monkeypatch.setattr(folders, "MAX_TOTAL", 7)
    monkeypatch.setattr(folders, "MAX_TOTAL", 8)  # 4 bytes, and a byte that counts as 2
    assert client.post("/api/uploads?name=c.wav", content=b"x", headers=kind).status_code == 400


def test_an_upload_that_is_cut_leaves_nothing(page):
    said = iter([{"type": "http.request", "body": b"RI", "more_body": True}, {"type": "http.disconnect"}])
    places = []

    async def receive():
        places.append(len(list(page.uploads.parent.iterdir())))
        return next(said)

    headers = [(b"content-type", b"application/octet-stream")]
    scope = {"type": "http", "method": "POST", "headers": headers, "query_string": b"name=a.wav"}
    with pytest.raises(ClientDisconnect):
        asyncio.run(page.upload(Request(scope, receive)))
    assert places == [1, 1] and not list(page.uploads.parent.iterdir())


def test_uploads_that_arrive_count_as_large_as_they_may_become(page, monkeypatch):
    monkeypatch.setattr(folders, "MAX_TOTAL", 10)
    receive, full = page.uploads.receive, pytest.raises(UserError, match="as many files as it may")
    with receive("a.wav", 5), receive("b.wav", 5), full, receive("c.wav", 5):
        pass
    with page.uploads.receive("c.wav", 10):
        pass


def test_a_failed_sweep_is_tried_again(page, monkeypatch):
    stop, seen = threading.Event(), []

    def sweep(folder, age):
        seen.append(folder)
        if len(seen) == 1:
            raise OSError("no")
        stop.set()

    monkeypatch.setattr(page_module, "SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(page_module, "sweep", sweep)
    page.sweeping(stop)
    assert seen == [page.studio.results, page.studio.results, page.uploads.parent]


def test_what_is_not_there(client):
    nothing = "0" * 32
    for path in (f"/api/takes/{nothing}", f"/api/takes/{nothing}/events", f"/take/{nothing}/take.glb",
                 "/take/..%2f..%2fx/take.glb", "/static/..%2fapp.py", "/static/%2e%2e/app.py"):  # fmt: skip
        assert client.get(path).status_code == 404, path
    assert client.delete(f"/api/takes/{nothing}").status_code == 404


def test_stop_preview_welcome_and_stage(client):
    token = finished(client)["token"]
    assert client.delete(f"/api/takes/{token}").status_code == 204
    assert client.post(f"/api/takes/{token}/head", json={"large": 2}).content == f"{token} 2".encode()
    assert client.get("/api/takes/welcome").json()["heads"] == ["take.glb"]
    assert "shading" in client.get("/stage.json").json()


def test_phones_find_the_page(client):
    assert "http://192.0.2.7:7860" in client.get("/").text and "<svg" in client.get("/phone.svg").text
    assert address("127.0.0.1", 7860) is None and address("localhost", 1) is None
    assert address("192.0.2.7", 80) == "http://192.0.2.7:80" and address("2001:db8::1", 8) == "http://[2001:db8::1]:8"


def test_a_page_for_the_whole_network_knows_its_address(monkeypatch):
    probe = MagicMock()
    probe.__enter__.return_value = probe
    monkeypatch.setattr(addresses.socket, "socket", lambda *_: probe)
    probe.getsockname.return_value = ("192.0.2.9", 5)
    assert address("0.0.0.0", 7860) == "http://192.0.2.9:7860"
    probe.connect.side_effect = OSError  # no network
    assert address("0.0.0.0", 7860) is None


def test_addresses():
    assert all(map(is_loopback, ("127.0.0.1", "127.0.0.9", "::1", "localhost", "LOCALHOST")))
    assert not any(map(is_loopback, (None, "", "0.0.0.0", "::", "192.0.2.1", "127.0.0.1.example.org", "null")))
    assert [url("ws", host, 1) for host in ("::1", "::", "0.0.0.0", "localhost")] == [
        "ws://[::1]:1", "ws://[::1]:1", "ws://127.0.0.1:1", "ws://localhost:1"]  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_a_page_for_this_machine_only_has_no_foreign_name(host):
    client = TestClient(requests.application([Route("/", lambda _: Response("page"))], host))
    named = {
        name: client.get("/", headers={"Host": name}).status_code
        for name in (
            url("", host, 7860)[3:],
            "localhost:7860",
            "127.0.0.1",
            "[::1]:7860",
            "evil.example:7860",
            "evil.localhost",
        )
    }
    assert named.pop("evil.example:7860") == named.pop("evil.localhost") == 400
    assert set(named.values()) == {200}


def test_a_page_for_the_network_has_any_name():
    client = TestClient(requests.application([Route("/", lambda _: Response("page"))], "0.0.0.0"))
    assert client.get("/", headers={"Host": "my-machine:7860"}).text == "page"


def test_a_taken_port_is_said_before_anything_is_loaded(monkeypatch, capsys):
    monkeypatch.setattr(app.Studio, "open", lambda *_: pytest.fail("loaded"))
    with addresses.listener("127.0.0.1", 0) as taken, pytest.raises(SystemExit) as end:
        app.main(["--port", str(taken.getsockname()[1])])
    assert end.value.code == 2 and "already in use" in capsys.readouterr().err


def test_a_number_that_is_no_port():
    with pytest.raises(UserError, match="--port 70000: must lie between 0 and 65535"):
        addresses.listener("127.0.0.1", 70000)
