// Package health tries the Lua of examples/gitops/argocd in the interpreter that Argo CD uses.
package health

import (
	"encoding/json"
	"os"
	"testing"

	lua "github.com/yuin/gopher-lua"
	"sigs.k8s.io/yaml"
)

func script(t *testing.T) string {
	text, err := os.ReadFile("../../examples/gitops/argocd/argocd-cm.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var configMap struct{ Data map[string]string }
	if err := yaml.Unmarshal(text, &configMap); err != nil {
		t.Fatal(err)
	}
	var customizations map[string]map[string]string
	if err := yaml.Unmarshal([]byte(configMap.Data["resource.customizations"]), &customizations); err != nil {
		t.Fatal(err)
	}
	return customizations["encryptedqueue.dev/*"]["health.lua"]
}

func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case map[string]any:
		table := state.NewTable()
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	case []any:
		table := state.NewTable()
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case string:
		return lua.LString(from)
	case float64:
		return lua.LNumber(from)
	case bool:
		return lua.LBool(from)
	}
	return lua.LNil
}

func health(t *testing.T, script, object string) (string, string) {
	var decoded any
	if err := json.Unmarshal([]byte(object), &decoded); err != nil {
		t.Fatal(err)
	}
	// As in Argo CD, without any library but the basic one.
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	state.Push(state.NewFunction(lua.OpenBase))
	state.Push(lua.LString("_G"))
	state.Call(1, 0)
	state.SetGlobal("obj", value(state, decoded))
	if err := state.DoString(script); err != nil {
		t.Fatal(err)
	}
	answer := state.Get(-1).(*lua.LTable)
	return answer.RawGetString("status").String(), answer.RawGetString("message").String()
}

func TestHealth(t *testing.T) {
	script := script(t)
	condition := func(kind, status, reason string) string {
		return `{"type": "` + kind + `", "status": "` + status + `", "reason": "` + reason + `", "message": "why"}`
	}
	object := func(observed, conditions string) string {
		return `{"metadata": {"generation": 2}, "status": {` + observed + `"conditions": [` + conditions + `]}}`
	}
	seen := `"observedGeneration": 2, `
	cases := []struct{ name, object, status, message string }{
		{"new", `{"metadata": {"generation": 1}}`, "Progressing", "The operator has not looked at it yet"},
		{"without conditions", object(seen, ""), "Progressing", "The operator has not looked at it yet"},
		{"changed", object(`"observedGeneration": 1, `, condition("Ready", "True", "InSync")), "Progressing", "The operator has not looked at the last change yet"},
		{"ready", object(seen, condition("Ready", "True", "InSync")), "Healthy", "InSync: why"},
		{"of a kind that observes no generation", object("", condition("Ready", "True", "InSync")), "Healthy", "InSync: why"},
		{"ready over budget", object(seen, condition("WithinBudget", "False", "OverBudget")+","+condition("Ready", "True", "InSync")), "Healthy", "InSync: why"},
		{"under way", object(seen, condition("Ready", "False", "WaitingForKey")+","+condition("Stalled", "False", "WaitingForKey")), "Progressing", "WaitingForKey: why"},
		{"stalled", object(seen, condition("Stalled", "True", "TenantNotFound")+","+condition("Ready", "False", "TenantNotFound")), "Degraded", "TenantNotFound: why"},
		{"awaiting approval", object(seen, condition("Ready", "False", "AwaitingApproval")), "Suspended", "AwaitingApproval: why"},
		{"paused", object(seen, condition("Ready", "False", "Paused")+","+condition("Stalled", "True", "Paused")), "Suspended", "Paused: why"},
		{"approval used", object("", condition("Applied", "True", "Applied")), "Healthy", "Applied: why"},
		{"approval before its change", object("", condition("Applied", "False", "Pending")), "Suspended", "Pending: why"},
		{"approval lapsed", object("", condition("Applied", "False", "Lapsed")), "Degraded", "Lapsed: why"},
	}
	for _, test := range cases {
		if status, message := health(t, script, test.object); status != test.status || message != test.message {
			t.Errorf("%s: %s (%s), not %s (%s)", test.name, status, message, test.status, test.message)
		}
	}
}
