// Package alerts has Prometheus itself read the chart's rules and the dashboard's queries.
package alerts

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// The rules as they are rendered, without the object of Kubernetes around them.
func rendered(t *testing.T) []byte {
	text, err := os.ReadFile(os.Getenv("PROMETHEUS_RULE"))
	if err != nil {
		t.Fatal(err)
	}
	var rule struct {
		Spec json.RawMessage `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &rule); err != nil {
		t.Fatal(err)
	}
	return rule.Spec
}

func TestRules(t *testing.T) {
	groups, errs := rulefmt.Parse(rendered(t), false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	for _, err := range errs {
		t.Error(err)
	}
	if len(errs) == 0 && len(groups.Groups[0].Rules) < 5 {
		t.Errorf("only %d rules", len(groups.Groups[0].Rules))
	}
}

func TestDashboard(t *testing.T) {
	text, err := os.ReadFile("../../charts/encrypted-queue-operator/files/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	interval := regexp.MustCompile(`\$__rate_interval`)
	for _, panel := range dashboard.Panels {
		for _, target := range panel.Targets {
			if _, err := parser.NewParser(parser.Options{}).ParseExpr(interval.ReplaceAllString(target.Expr, "5m")); err != nil {
				t.Errorf("%s: %v", panel.Title, err)
			}
		}
	}
}
