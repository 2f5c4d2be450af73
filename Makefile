.DEFAULT_GOAL := help
SHELL := /bin/bash

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the operator, optimised, as target/release/encrypted-queue
	cargo build --release --locked

.PHONY: fixtures
fixtures: ## Build or install, once, the servers and tools that test, demo and bench run with
	@tools/build-control-plane.sh >/dev/null
	@tools/moto/setup.sh >/dev/null
	@tools/helm.sh --path >/dev/null
	@tools/openreports.sh --path >/dev/null

.PHONY: test
test: fixtures ## Run all tests, against a real API server and an AWS emulator, and a sample of test-crash
	@rm -f target/tmp/rights-taken
	cargo test --workspace --locked
	cargo test --locked --test proof every_right_is_taken -- --ignored
	cargo test --locked --test crash -- --sample $(or $(SAMPLE),60) --seed $(or $(SEED),1) --workers 4

.PHONY: test-crash
test-crash: fixtures ## Kill the operator, fail AWS and race it, at every call of every scenario (two hours; goes on where it stopped)
	cargo test --locked --profile crash --test crash -- $(ARGUMENTS)

.PHONY: test-cluster
test-cluster: fixtures ## Play the main scenario with real pods in the cluster that KUBECONFIG names (kind, or as tools/test-cluster.sh says)
	tools/test-cluster.sh

.PHONY: test-minors
test-minors: fixtures ## Run what speaks to the API server against the oldest and the newest minor that are supported (builds both once)
	tools/test-minors.sh $(MINORS)

.PHONY: test-long
test-long: ## Judge over a million requests to random policies, and a hundred thousand policies read back
	JUDGED_DECLARATIONS=7500 cargo test --locked --test proof
	PROPTEST_CASES=40000 cargo test --locked --lib policy::tests::round_trip
	PROPTEST_CASES=40000 cargo test --locked --lib policy::tests::equivalence

.PHONY: test-model
test-model: ## Look at every state of the plans that a model checker reaches within its bounds (up to an hour)
	cargo test --locked --test model -- --ignored --nocapture --test-threads=2

.PHONY: fuzz
fuzz: ## Fuzz the policy parser and the comparison for SECONDS (60) each
	tools/fuzz.sh $(or $(SECONDS),60)

.PHONY: mutants
mutants: ## Break policies and plans in every small way, and see that a test notices (FILES='src/plan/key.rs …' only some)
	tools/cargo-mutants.sh $(FILES)

.PHONY: demo
demo: fixtures ## Show the operator at work on this machine (KEEP=1 leaves it running)
	@KEEP=$(KEEP) tools/demo.sh

.PHONY: bench
bench: fixtures ## Measure, and compare with the budgets
	cargo bench --locked --bench pure
	cargo bench --locked --bench budgets

FLEETS ?= 1000 10000

.PHONY: bench-long
bench-long: fixtures ## Measure a thousand and ten thousand queues over an emulator in memory (FLEETS='1000' only some)
	for queues in $(FLEETS); do cargo bench --locked --bench budgets -- --fleet $$queues || exit; done
	cargo bench --locked --bench budgets -- --quotas $(lastword $(FLEETS)) 5

.PHONY: bench-idle
bench-idle: fixtures ## Watch the examples, then a thousand queues with events, at rest for MINUTES (10) each: nothing is written
	cargo bench --locked --bench budgets -- --idle $(or $(MINUTES),10)
	cargo bench --locked --bench budgets -- --rest 1000 $(or $(MINUTES),10)

.PHONY: generate
generate: ## Write the generated files anew (crds/, deploy/, the chart's crds/, docs/metrics.md, docs/reference/)
	tools/generate.sh
	tools/docs.sh --no-build

.PHONY: check-generated
check-generated: ## Fail if a generated file is stale
	tools/generate.sh --check

.PHONY: docs
docs: ## Write the book's generated references, check its links, and build it into target/book
	tools/docs.sh

.PHONY: check-docs
check-docs: ## Fail if a reference of the book is stale or a link is broken
	tools/docs.sh --check

.PHONY: docs-test
docs-test: fixtures ## Run the commands of the book (PAGES='start.md …' only some) against what the demo leaves running
	tools/docs-test.sh $(PAGES)

.PHONY: format
format: ## Format the sources
	cargo fmt --all

.PHONY: lint
lint: lint-rust lint-workflows lint-chart lint-aws deny ## Run every linter; what they find fails

.PHONY: lint-rust
lint-rust: ## Check format and lints of the sources
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings

.PHONY: lint-workflows
lint-workflows: ## Check the workflows for GitHub, also those of the examples: actionlint
	tools/lint-workflows.sh

.PHONY: lint-chart
lint-chart: ## Check the Helm chart: lint, wrong values, kube-score, and a real API server
	tools/lint-chart.sh

.PHONY: dashboard
dashboard: fixtures ## Ask a real Prometheus, over the demo, every query of the Grafana dashboard (builds it once, five minutes), and draw the answers
	tools/dashboard.sh

.PHONY: lint-aws
lint-aws: ## Check what is for AWS: cfn-lint, tflint, hclfmt, checkov, cfn-guard (installs them once, ten minutes)
	tools/lint-aws.sh

.PHONY: deny
deny: ## Check the licences and sources of all dependencies
	tools/cargo-deny.sh --locked check bans licenses sources

.PHONY: clean
clean: ## Remove what was built here; the cache outside the clone stays
	cargo clean
