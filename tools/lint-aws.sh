#!/usr/bin/env bash
# Checks deploy/aws: CloudFormation by cfn-lint and checkov, Terraform by tflint, hclfmt and checkov, and the rule for AWS Config by its own interpreter.
# Terraform's own `validate` takes the provider, which no package registry has: CI runs it (.github/workflows/ci.yaml).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/common.sh

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
environment=$(python_environment aws)

"$environment/bin/cfn-lint" deploy/aws/cloudformation/*.yaml
echo "cfn-lint: $(find deploy/aws/cloudformation -name '*.yaml' | wc -l) templates, nothing found"

tflint=$(go_tool tflint "$(required_version tflint github.com/terraform-linters/tflint)" github.com/terraform-linters/tflint "")
printf 'plugin "terraform" {\n  enabled = true\n  preset  = "all"\n}\n' >"$work/tflint.hcl"
for module in deploy/aws/terraform/*/; do "$tflint" --config="$work/tflint.hcl" --chdir="$module"; done
echo "tflint: $(find deploy/aws/terraform -mindepth 1 -type d | wc -l) modules, nothing found"

hclfmt=$(go_tool hclfmt "$(required_version hclfmt github.com/hashicorp/hcl/v2)" github.com/hashicorp/hcl/v2/cmd/hclfmt "")
for file in deploy/aws/terraform/*/*.tf; do "$hclfmt" -require-no-change "$file" >"$work/formatted" || fail "$file is not formatted; it would be: $(diff "$file" "$work/formatted")"; done
echo "hclfmt: $(find deploy/aws/terraform -name '*.tf' | wc -l) files, formatted"

for framework in cloudformation terraform; do
    "$environment/bin/checkov" --directory "deploy/aws/$framework" --framework "$framework" --compact --quiet --skip-download >"$work/checkov" 2>&1 ||
        fail "checkov finds fault with $framework: $(cat "$work/checkov")"
    echo "checkov: $framework, $(grep -o 'Passed checks: [0-9]*' "$work/checkov"), nothing found"
done

# declared STATUS JSON: what the rule says of a resource as AWS Config records it.
guard=$(cargo_tool cfn-guard 3.2.1)
declared() {
    printf '%s' "$2" >"$work/item.json"
    "$guard" validate --rules deploy/aws/config/declared-queues.guard --data "$work/item.json" --output-format json --structured --show-summary none >"$work/said" || true
    python3 -c 'import json, sys; sys.exit(json.load(open(sys.argv[1]))[0]["status"] != sys.argv[2])' "$work/said" "$1" ||
        fail "the rule does not say $1 of $2: $(cat "$work/said")"
}
declared PASS '{"resourceType": "AWS::SQS::Queue", "tags": {"encryptedqueue.dev/cluster": "a"}}'
declared FAIL '{"resourceType": "AWS::SQS::Queue", "tags": {"owner": "a"}}'
declared FAIL '{"resourceType": "AWS::SQS::Queue", "tags": {}}'
declared SKIP '{"resourceType": "AWS::SNS::Topic", "tags": {}}'
echo "cfn-guard: the rule tells declared queues from others"
