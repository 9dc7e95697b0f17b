"""Commands that make, inspect, convert and merge data sets. To add one: a module here with a `main`."""

import utils.startup
