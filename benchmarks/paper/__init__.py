"""The paper's findings: drawn actions, networks for them, their studies, and the questions put to these."""
