# Needs Go, a C compiler (the Kafka client is C, bundled for linux/amd64 with glibc) and make. All else is fetched and
# pinned: libraries in go.mod, tools in .tools/go.mod.

MODULE   := github.com/candlestack/candlestack
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
STAMP    := -X $(MODULE)/services/telemetry.version=$(VERSION) -X $(MODULE)/services/telemetry.revision=$(REVISION)
TOOL     := go tool -modfile=.tools/go.mod

export CGO_ENABLED := 1

PACKAGES ?= ./...# what test and race look at
FLAGS    ?=# more flags for go test, say -run=Kill
ARGS     ?=# flags for demo and bench
N        ?= 20# kills
FUZZTIME ?= 10s# for each fuzz target

.DEFAULT_GOAL := help
.PHONY: help build test race demo bench kill lint fuzz generate dashboards notebooks contract verify clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/candlestack and bin/candlestack-exporter
	@go build -trimpath -ldflags '$(STAMP)' -o bin/ ./services/candlestack ./exporters/candlestack-exporter

test: ## run all tests; servers are named by CANDLESTACK_TEST_KAFKA, _MYSQL, _MARIADB, _MONGODB (.ci/run starts them)
	@mkdir -p .cache
	@$(TOOL) gotestsum --version >/dev/null 2>&1 || true # fetches it without a word; a failure shows below
	@go test -run '^$$' $(FLAGS) $(PACKAGES) >/dev/null # builds all with every core; what follows is one package at a time:
	@# tests stop and kill the servers that they share
	@$(TOOL) gotestsum --format none --jsonfile-timing-events .cache/tests.json --post-run-command .tools/summary \
		-- -p 1 -timeout 30m $(FLAGS) $(PACKAGES)

race: ## run all tests with the race detector
	@$(MAKE) --no-print-directory test FLAGS='-race $(FLAGS)'

demo: ## run the whole stack in one process, on embedded servers: make demo ARGS='--seed 7'
	@go run ./services/demo $(ARGS)

bench: ## measure, and print ratios: make bench ARGS=…
	@go run ./compose/bench $(ARGS)

kill: ## kill the sink and the source N times and compare the books: make kill N=1000
	@CANDLESTACK_KILLS=$(N) go test -count=1 -timeout 0 -v -run '^TestKill' ./services/command

lint: ## go vet, staticcheck and a few more, by golangci-lint (.golangci.yml)
	@$(TOOL) golangci-lint run ./...

fuzz: ## run each fuzz target for FUZZTIME
	@go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./... | while read -r package; do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz'); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package || exit 1; \
		done; \
	done

generate: ## write METRICS.md, exporters/METRICS.md and exporters/FIDELITY.md
	@go test -count=1 -run 'Test(Metrics|Fidelity)Document' ./services/command ./exporters/command ./exporters/broker -update >/dev/null

notebooks: ## run the notebooks on real servers, which compose/notebooks/tests/run names
	@compose/notebooks/tests/run

dashboards: ## write grafana/dashboards
	@go run ./grafana/generate

contract: ## run the stack, ask for every query of every dashboard, let alerts fire and resolve (half an hour)
	@CANDLESTACK_CONTRACT=full go test -count=1 -v -timeout 80m ./grafana/contract

verify: ## check that generated files and module files are what they would be if made again
	@go mod verify >/dev/null && go mod tidy -diff
	@go test -count=1 -run 'Test(Metrics|Fidelity)Document' ./services/command ./exporters/command ./exporters/broker
	@go test -count=1 -run 'TestDashboardsAreGenerated' ./grafana/generate

clean: ## remove what was built
	@rm -rf bin .cache

include compose/compose.mk
