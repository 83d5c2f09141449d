# `make` prints this list.
.DEFAULT_GOAL := help
.PHONY: help build demo test race fuzz bench bench-kafka lint torture soak compat compat-quick

GO        ?= go
FUZZTIME  ?= 60s
ROUNDS    ?= 50
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

help: ## print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build ./grete
	$(GO) build -o grete .

demo: build ## run the demo for 20 seconds: a log, a load, jobs and live counts
	./grete demo --for 20s

test: ## vet and run all tests
	$(GO) vet ./...
	$(GO) test -timeout 20m ./...

race: ## run all tests under the race detector
	$(GO) test -race -short -timeout 30m ./...

fuzz: ## run the fuzz targets: FUZZTIME (default 60s) each for decoders of stored and foreign bytes, 5s for the rest
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" bash .ci/fuzz

bench: build ## measure: records/s, CPU-ns and allocations per record, latency
	./grete bench all

bench-kafka: ## measure grete serve beside Apache Kafka (from Maven Central): throughput, latency, CPU and memory of both
	bash log/kafka/bench/run

lint: ## vet, gofmt and staticcheck
	$(GO) vet ./...
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on the files above"; exit 1; }
	$(GO) run $(STATICCHECK) ./...

torture: build ## kill -9 at random moments, ROUNDS (default 50) times on one directory, and power cuts on a simulated disk
	GRETE_TORTURE_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 120m -run 'Torture' -v ./engine/cli
	GRETE_TORTURE_ROUNDS=$$(( 2 * $(ROUNDS) )) $(GO) test -count=1 -timeout 120m -run 'Torture' -v ./log/kafka
	GRETE_TORTURE_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 120m -run 'Crash|Fault|Corrupt|Sim' ./log/... ./state/... ./engine/...

soak: ## the torture for ten times as many rounds
	$(MAKE) torture ROUNDS=500

compat: build ## install Kafka clients outside this tree, run them against grete serve and renew the table in log/kafka/README.md
	log/kafka/compat/run --table log/kafka/README.md

compat-quick: build ## the clients that CI runs: those that take seconds
	log/kafka/compat/run --quick
