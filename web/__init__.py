"""The web demo (`python -m web.app`) and the live server (`python -m web.serve`), on this machine only by default."""

import utils.startup
