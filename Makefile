# What a person or CI types. The work is done by the scripts in deploy/local and .ci.
.DEFAULT_GOAL := help
.PHONY: help demo run test check api interop faults fuzz bench chart sqlx fmt clean

help: ## prints this list
	@sed -n 's/^\([a-z]*\): ## /\1\t/p' Makefile | awk -F'\t' '{ printf "make %-8s %s\n", $$1, $$2 }'

demo: ## one fan's whole journey, on PostgreSQL and Kafka of its own; ends by itself and leaves nothing running
	@deploy/local/demo

run: ## the whole suite on this machine, until Ctrl-C
	@deploy/local/demo run

test: ## format, lints and every test, on PostgreSQL and Kafka of their own
	@deploy/local/test

check: ## licences, protocol buffers and the chart: gets the tools that this needs
	@.ci/check

interop: ## foreign relying parties' libraries sign in at identity (LIBRARIES="openid-client oic" for some)
	@deploy/local/interop $(LIBRARIES)

api: ## requests made from identity's OpenAPI description, and whether the answers are as it says
	@deploy/local/schemathesis

faults: ## the long tests that kill and cut things, and the figures under load (those marked as ignored)
	@deploy/local/faults

fuzz: ## hostile bytes for the parsers of records, headers, tokens, requests and descriptors, a minute each (KOTINOS_FUZZ_SECONDS)
	@deploy/local/fuzz

bench: ## size, start-up time and memory of each program; hash, identity, feed and backbone beside their peers (BENCH="--runs 3" for the last)
	@deploy/local/bench $(BENCH)

chart: ## lints and renders the Helm chart, and compares with its examples
	@.ci/chart

sqlx: ## asks a database about each checked query and writes services/*/.sqlx
	@deploy/local/stack up demo
	@deploy/local/sqlx-prepare

fmt: ## formats the code
	@cargo fmt --all

clean: ## stops both stacks, and removes their data and everything built
	@deploy/local/stack down demo --clean
	@deploy/local/stack down test --clean
	@cargo clean
