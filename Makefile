# memvpd: build, test, models and a demonstration. `make help` lists the targets.
# One set of build flags everywhere, so that demo, test and bench share one build.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
BUILD_FLAGS := -c release -Xswiftc -enable-testing
BIN := .build/release
MODELS := build/models

.PHONY: help demo test build dependencies models models-f32 lint bench clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: models ## answer a sample photo with a real daemon on temporary directories
	@scripts/demo.sh $(BIN) $(MODELS)/default

test: models models-f32 ## build everything with warnings as errors and run all tests
	@echo "memvpd: building the tests"
	@swift build $(BUILD_FLAGS) --build-tests
	@swift test $(BUILD_FLAGS) --skip-build --parallel

build: dependencies ## build the three programs
	@echo "memvpd: building (a few minutes the first time)"
	@swift build $(BUILD_FLAGS) --product memvp
	@swift build $(BUILD_FLAGS) --product memvpd
	@swift build $(BUILD_FLAGS) --product memvpctl

dependencies: ## install the system libraries that are missing
	@scripts/install-dependencies.sh

models: build ## fetch and convert the default model (int8)
	@scripts/make-models.sh $(BIN)/memvp $(MODELS)/source $(MODELS)/default int8

models-f32: build ## its float32 twin, for parity tests
	@scripts/make-models.sh $(BIN)/memvp $(MODELS)/source $(MODELS)/default-f32 f32

lint: ## swift format, in strict mode
	@swift format lint --strict --recursive --parallel Sources Tests Package.swift

bench: models ## the benchmark of DESIGN 3, on two threads
	@$(BIN)/memvp bench --model $(MODELS)/default --threads 2

clean: ## remove everything that was built
	@rm -rf .build build
