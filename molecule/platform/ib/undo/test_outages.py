"""A reboot and a power cut: Gateway, bot and watcher come back by themselves, in order.

Before test_undo.py, by the order of names.
"""

import pytest

PROGRAM = "python3 -I /usr/local/lib/gridberry/ib_gateway"
UNITS = ("network-online.target", "gridberry-ib-display.service", "gridberry-ib-gateway.service",
         "gridberry-ib-ready.service")  # fmt: skip


@pytest.mark.parametrize("cut", [False, True], ids=["reboot", "power cut"])
def test_the_gateway_comes_back_in_order(pi, machine, waiting, cut):
    machine.restart(cut=cut)
    print(pi.check_output(f"{PROGRAM} wait 300"))
    waiting(lambda: pi.run(f"systemctl is-active {UNITS[-1]}").rc == 0, "what bots wait for")
    show = "systemctl show -P ActiveEnterTimestampMonotonic "
    begun = [int(pi.check_output(show + unit)) for unit in UNITS]
    print([f"{unit}: {micro / 1e6:.1f} s" for unit, micro in zip(UNITS, begun, strict=True)])
    assert 0 not in begun
    assert begun == sorted(begun)


def test_bot_and_watcher_came_back(pi, waiting):
    look = "docker inspect --format '{{.State.Health.Status}}' gridberry-"
    for name in ("bot", "watcher"):
        waiting(lambda name=name: pi.run(look + name).stdout.strip() == "healthy", name)
