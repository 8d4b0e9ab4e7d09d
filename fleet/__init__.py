"""The controller's Python behind the launcher's verbs, thin over Ansible."""
