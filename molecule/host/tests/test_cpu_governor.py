"""The governor of every CPU, where there is one."""

GOVERNORS = "cat /sys/devices/system/cpu/cpufreq/policy*/scaling_governor 2>/dev/null || :"


def test_every_cpu_is_at_its_highest_or_has_no_frequency_to_set(pi):
    found = pi.check_output(GOVERNORS).split()
    unit = pi.file("/etc/systemd/system/gridberry-cpu-governor.service")
    if found:
        assert set(found) == {"performance"}
    # Nothing is left on a machine whose kernel scales no frequencies, as QEMU's.
    assert unit.exists == bool(found)
    assert pi.file("/var/lib/gridberry/cpu_governor").exists == bool(found)
