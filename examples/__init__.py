"""Small programs that show how to use the models and the exports."""

import utils.startup
