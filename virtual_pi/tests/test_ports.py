import socket

import pytest

from virtual_pi import ports
from virtual_pi.errors import VirtualPiError


def test_chosen_ports_differ_and_are_free() -> None:
    chosen = ports.choose_ports(20, taken=())
    assert len(set(chosen)) == 20
    assert all(port in ports.RANGE and ports.is_free(port) for port in chosen)


def test_ports_of_other_machines_and_of_programs_are_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = ports.choose_ports(1, taken=())[0]
    monkeypatch.setattr(ports, "RANGE", range(first, first + 3))
    with socket.socket() as listener:
        listener.bind((ports.LOOPBACK, first + 1))
        listener.listen()
        assert not ports.is_free(first + 1)
        assert ports.choose_ports(1, taken=[first]) == [first + 2]
        with pytest.raises(VirtualPiError, match="no free TCP port"):
            ports.choose_ports(1, taken=[first, first + 2])
