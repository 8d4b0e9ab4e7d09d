"""Lists of hosts, as a person reads them."""

from fleet.host_names import few, shortened

NAMES = [f"pi{number}" for number in range(1, 375)]


def test_of_many_hosts_the_first_ten_are_named():
    first = "pi1, pi2, pi3, pi4, pi5, pi6, pi7, pi8, pi9, pi10"
    assert few(NAMES[:10]) == first
    assert few(NAMES[:11]) == f"{first}, ... (11 in all)"
    assert few(NAMES) == f"{first}, ... (374 in all)"


def test_a_command_names_the_first_ten_hosts_wherever_it_has_them():
    ten, many = ",".join(NAMES[:10]), ",".join(NAMES)
    command = '$ ansible-playbook --limit {0},localhost -e \'{{"look_hosts": "{0}"}}\' -v'
    for names in (ten, "a", "rack-1.pi"):
        said = f"$ ansible-playbook --limit {names} -v"
        assert shortened(said) == said
    cut = command.replace("{0},localhost", "{0}").format(f"{ten},...")
    assert shortened(command.format(many)) == cut
