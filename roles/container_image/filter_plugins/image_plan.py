"""Ansible filters: which host makes an image, and what each has of it."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError


def host_arch(look: str) -> str:
    """Return a host's processor as Docker names it, from what the host said.

    Args:
        look: The output of the role's look.sh: a line C(arch ARCH) and lines C(image NAME ID).
    """
    return next(line.split()[1] for line in look.splitlines() if line.startswith("arch "))


def image_ids(look: str) -> dict[str, str]:
    """Return a host's images of this name, by reference, from what the host said."""
    words = [line.split() for line in look.splitlines() if line.startswith("image ")]
    return {name: identity for _, name, identity in words}


def image_plan(
    looks: dict[str, str], name: str, inputs_hash: str, builder: str = "auto"
) -> dict[str, dict]:
    """Decide, for each processor of the fleet, which host makes the image.

    Args:
        looks: What each host said, by host name.
        name: The image's name.
        inputs_hash: The hash of what the image is built from.
        builder: C(auto), C(controller) or a host's name.

    Returns:
        By processor: C(image) (its name), C(maker) (the host that has it, else the one that builds
        it), C(holders) and C(lacking) (hosts).

    Raises:
        AnsibleFilterError: The builder is not a host of this run.
    """
    if builder not in {"auto", "controller", *looks}:
        raise AnsibleFilterError(
            f"the builder of {name} is {builder!r}; use auto, controller, or one of the hosts of"
            f" this run: {', '.join(sorted(looks))}"
        )
    plan: dict[str, dict] = {}
    for arch in sorted({host_arch(look) for look in looks.values()}):
        image = f"{name}:{inputs_hash}-{arch}"
        peers = [host for host, look in looks.items() if host_arch(look) == arch]
        holders = [host for host in peers if image in image_ids(looks[host])]
        preferred = builder if builder in peers else peers[0]
        plan[arch] = {
            "image": image,
            "maker": holders[0] if holders else preferred,
            "holders": holders,
            "lacking": [host for host in peers if host not in holders],
        }
    return plan


class FilterModule:
    """What Ansible finds in this file."""

    def filters(self) -> dict[str, object]:
        """Return the filters by name."""
        return {
            "container_image_host_arch": host_arch,
            "container_image_ids": image_ids,
            "container_image_plan": image_plan,
        }
