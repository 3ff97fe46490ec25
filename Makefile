# Recipes of the house. `make` alone lists them; every recipe but help and clean sets up first (seconds, once set up).

.DEFAULT_GOAL := help
.PHONY: help setup demo deb check test slow fuzz lint docs bench clean

bin := .venv/bin

##@ Use
setup:  ## system packages (as root, on Debian), .venv, the program itself
	@tools/setup.sh

demo: setup  ## build a router in namespaces, make connections, ask who it was (root)
	@$(bin)/anetcon demo

deb: setup  ## the Debian package, in dist/
	@$(bin)/python -m tools.deb

##@ Work
run_tests = $(bin)/python -m compileall -q src && $(bin)/python -m pytest -n 2 --dist loadfile # compiled once, for all starts

check: setup  ## the quick half: unit and netns tests, with a fifth of the examples of property tests
	@export ANETCON_EXAMPLES=20; $(run_tests) -n 3 -m "not slow" tests/unit tests/netns # three: netns tests mostly wait

test: setup  ## every test this machine can run, two at a time, but the slow; one tier: make test T=tests/unit
	@case "$(T)" in tests/unit*) ;; *) tests/debian-image.sh >/dev/null || true ;; esac # tests that need it say so
	@case "$(T)" in tests/unit*) ;; *) for each in duckdb frames; do tests/readers.sh $$each >/dev/null || true; done ;; esac
	@$(run_tests) -m "not slow" $(T)

slow: setup  ## the tests that take long: floods, crashes, packages, taking over
	@tests/debian-image.sh >/dev/null || true # tests that need it say so
	@case "$(T)" in tests/unit*) ;; *) tests/readers.sh spark >/dev/null || true ;; esac
	@$(run_tests) -m slow $(T)

fuzz: setup  ## the property tests again and again, 2,000 examples each: make fuzz SECONDS=600
	@end=$$(($$(date +%s) + $(or $(SECONDS),600))); while [ $$(date +%s) -lt $$end ]; do \
	  ANETCON_EXAMPLES=2000 $(bin)/python -m pytest -n 2 -q -m hypothesis $(or $(T),tests/unit) || exit 1; done

lint: setup  ## style, format, types, generated pages
	@$(bin)/ruff check
	@$(bin)/ruff format --check
	@$(bin)/mypy
	@$(bin)/python -m tools.docs --check

docs: setup  ## write what derives from the code: docs/reference, man pages, completion
	@$(bin)/python -m tools.docs

bench: setup  ## measure: a table here, JSON in bench/results (root, and a quiet machine)
	@$(bin)/python -m bench

clean:  ## remove what tools leave behind; .venv stays
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis src/*.egg-info
	@find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} +

help:  ## this list
	@awk 'BEGIN { FS = ":.*## *" } /^##@/ { printf "\n%s\n", substr($$0, 5) } \
	  /^[a-z]+:.*##/ { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
