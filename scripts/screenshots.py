"""Make the pictures of the documentation: the demo, refined now, and its report in a browser.

    python scripts/screenshots.py [--out FOLDER] [--pages SITE]

Chromium and chromedriver must be at hand. With --pages, pages of a built documentation are taken,
to look at: wide and narrow, light and dark.
"""

from __future__ import annotations

import argparse
import base64
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: Pictures of the report: width and height, colours, and what is scrolled to.
REPORT = {
    "report-light.png": (1280, 960, "light", None),
    "report-dark.png": (1280, 960, "dark", None),
    "report-view.png": (1280, 640, "light", "view"),
    "report-figures.png": (1280, 700, "light", "figures"),
}
PAGES = ("index", "theory", "warnings", "commands", "workflow", "api")


def browser() -> Any:
    """Return a headless Chromium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    driver = shutil.which("chromedriver")
    if driver is None:
        raise SystemExit("chromedriver is not at hand")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--use-gl=angle",
        "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    ):  # fmt: skip
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service(driver))


def take(
    chrome: Any, page: Path, size: tuple[int, int], colours: str, element: str | None, out: Path
) -> None:
    """Write a picture of a page; its scripts have a moment to draw."""
    width, height = size
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    scheme = [{"name": "prefers-color-scheme", "value": colours}]
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": scheme})
    chrome.get(page.as_uri())
    chrome.execute_script("localStorage.clear()")  # the colours that a page remembers
    chrome.refresh()
    time.sleep(3)
    if element == "view":
        chrome.execute_script("document.querySelector('[data-site] a, [data-site] button').click()")
    if element is not None:
        chrome.execute_script("document.getElementById(arguments[0]).scrollIntoView()", element)
        time.sleep(3)
    picture = chrome.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    out.write_bytes(_smaller(base64.b64decode(picture["data"])))
    print(f"{out}: {out.stat().st_size // 1024} kB")


def _smaller(png: bytes) -> bytes:
    """Return a picture in 128 colours, where Pillow is at hand: a third of the size."""
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(png)).convert("RGB").quantize(128)
    made = io.BytesIO()
    image.save(made, "PNG", optimize=True)
    return made.getvalue()


def main() -> None:
    """Refine the demo and take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--pages", type=Path, help="a built documentation to look at")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    chrome = browser()
    try:
        if asked.pages is not None:
            for name in PAGES:
                for width in (400, 1400):
                    for colours in ("light", "dark"):
                        out = asked.out / f"{name}-{width}-{colours}.png"
                        page = asked.pages.resolve() / f"{name}.html"
                        take(chrome, page, (width, 1000), colours, None, out)
            return
        with tempfile.TemporaryDirectory() as name:
            demo = Path(name) / "demo"
            line = [sys.executable, "-m", "multicopy_refinement", "demo", "--out", str(demo)]
            subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
            page = demo / "refined" / "report.html"
            for file, (width, height, colours, element) in REPORT.items():
                take(chrome, page, (width, height), colours, element, asked.out / file)
    finally:
        chrome.quit()


if __name__ == "__main__":
    main()
