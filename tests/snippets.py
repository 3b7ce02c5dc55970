"""The Python snippets of the README and of docs/, as modules for a type checker: `python tests/snippets.py FOLDER`."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def snippets_of(page: Path) -> list[str]:
    """What stands in the page's fences marked `python`, in order; they share their names."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def write_modules(folder: Path) -> None:
    """One module for each page that has snippets."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        if snippets := snippets_of(page):
            (folder / f"{page.stem.lower()}_page.py").write_text("\n\n".join(snippets), encoding="utf-8")


if __name__ == "__main__":
    write_modules(Path(sys.argv[1]))
