"""What the launcher's verbs show: as Ansible does, and a host that cannot be reached in one line.

Ansible's own callbacks need fifteen lines for each, most of which show the task that came first.
"""

from __future__ import annotations

from ansible import constants, context
from ansible.executor.task_result import CallbackTaskResult
from ansible.plugins.callback import default, minimal

DOCUMENTATION = r"""
name: launcher
type: stdout
short_description: Ansible's output, with one line for a host that cannot be reached
description:
  - As C(default) for playbooks, and as C(minimal) for a single task.
extends_documentation_fragment:
  - default_callback
  - result_format_callback
"""

# Ansible's two programs show what they did by different callbacks.
Base = minimal.CallbackModule if "module_name" in context.CLIARGS else default.CallbackModule


class CallbackModule(Base):
    """What Ansible finds in this file."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "launcher"

    def v2_runner_on_unreachable(self, result: CallbackTaskResult) -> None:
        """Say which host cannot be reached, and why."""
        said = " ".join(str(result.result.get("msg") or "it does not answer").split())
        for prefix in ("Task failed: ", "Failed to connect to the host via ssh: "):
            said = said.removeprefix(prefix)
        line = f"{result.host.get_name()} cannot be reached: {said}"
        self._display.display(line, color=constants.COLOR_UNREACHABLE)
