"""The local server: this board, to this machine, and nothing else."""

import threading
from http.client import HTTPConnection

import pytest

from fl_attack_bench.errors import UserError
from fl_attack_bench.site.serve import server


@pytest.fixture
def running(site):
    with server(site, 0) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def get(served, path):
    connection = HTTPConnection(*served.server_address, timeout=10)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_it_serves_the_board_on_this_machine_only(running):
    assert running.server_address[0] == "127.0.0.1"
    status, body = get(running, "/")
    assert status == 200
    assert b"Gradient leakage" in body


@pytest.mark.parametrize("path", ["/pictures/", "/../conftest.py", "/%2e%2e/%2e%2e/etc/passwd", "/nothing.html"])
def test_it_serves_nothing_else(running, path):
    assert get(running, path)[0] == 404


def test_a_folder_without_a_board_is_refused(tmp_path):
    with pytest.raises(UserError, match="no board here"):
        server(tmp_path, 0)


@pytest.mark.parametrize("port", [-1, 70000])
def test_an_impossible_port_is_refused(site, port):
    with pytest.raises(UserError, match=f"port {port}"):
        server(site, port)


def test_a_taken_port_is_refused(site, running):
    with pytest.raises(UserError, match="choose another"):
        server(site, running.server_address[1])
